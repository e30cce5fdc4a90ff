"""What changed between two builds, as text that a person reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def tell(found: dict[str, Any]) -> str:
    """What `codi2_storage.catalog.diff.diff` found, as indented lines: a heading for each kind of thing that differs."""
    lines, same = [], []
    for heading, rows in found.items():
        name = heading.replace("_", " ")
        if not rows:
            same.append(name)
            continue
        width = min(max(len(row["name"]) for row in rows), 60)
        lines.append(name)
        lines += [f"  {row['name']:<{width}}  {teller(row)(row)}" for row in rows]
    return "\n".join([*lines, *([f"the same: {', '.join(same)}"] if same else [])])


def teller(row: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """How to tell a row: as a value that changed, as rows that moved, or as shards."""
    return tell_change if "old" in row else tell_shards if "written" in row else tell_move


def tell_change(row: dict[str, Any]) -> str:
    old, new = row["old"], row["new"]
    if isinstance(old, int) and isinstance(new, int) and not isinstance(old, bool) and not isinstance(new, bool):
        return f"{old:,} -> {new:,} ({new - old:+,})"
    return f"{shown(old)} -> {shown(new)}"


def shown(value: Any) -> str:
    return "(not there)" if value is None else value if isinstance(value, str) else json.dumps(value)


def tell_move(row: dict[str, Any]) -> str:
    told = [f"kept {row['kept']:,}"]
    for what in ("added", "removed", "changed"):
        if row[what]:
            first = [short(key) for key in row[f"first_{what}"]]
            more = ", ..." if row[what] > len(first) else ""
            told.append(f"{what} {row[what]:,} ({', '.join(first)}{more})")
    return ", ".join(told)


def short(key: str) -> str:
    """The end of a path, which tells files apart, and the beginning of an id, which is enough to ask for it."""
    return key.rpartition("/")[2] if "/" in key else key[:12]


def tell_shards(row: dict[str, Any]) -> str:
    parts = (f"{what} {row[what]:,} ({row[f'bytes_{what}'] / 1e6:,.1f} MB)" for what in ("kept", "written", "removed"))
    return ", ".join(parts)
