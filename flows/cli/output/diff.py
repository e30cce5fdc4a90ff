"""The comparison of two builds as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def format_diff(changes: dict[str, Any]) -> str:
    """The result of `codi2_storage.catalog.diff.diff` as indented lines, with a heading for each kind of change."""
    lines, same = [], []
    for heading, rows in changes.items():
        name = heading.replace("_", " ")
        if not rows:
            same.append(name)
            continue
        width = min(max(len(row["name"]) for row in rows), 60)
        lines.append(name)
        lines += [f"  {row['name']:<{width}}  {formatter(row)(row)}" for row in rows]
    return "\n".join([*lines, *([f"unchanged: {', '.join(same)}"] if same else [])])


def formatter(row: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """The function that formats the row: a changed value, shards, or added and removed rows."""
    return format_change if "old" in row else format_shards if "written" in row else format_rows


def format_change(row: dict[str, Any]) -> str:
    old, new = row["old"], row["new"]
    if isinstance(old, int) and isinstance(new, int) and not isinstance(old, bool) and not isinstance(new, bool):
        return f"{old:,} -> {new:,} ({new - old:+,})"
    return f"{format_value(old)} -> {format_value(new)}"


def format_value(value: Any) -> str:
    return "(none)" if value is None else value if isinstance(value, str) else json.dumps(value)


def format_rows(row: dict[str, Any]) -> str:
    parts = [f"kept {row['kept']:,}"]
    for change in ("added", "removed", "changed"):
        if row[change]:
            first = [short_name(key) for key in row[f"first_{change}"]]
            more = ", ..." if row[change] > len(first) else ""
            parts.append(f"{change} {row[change]:,} ({', '.join(first)}{more})")
    return ", ".join(parts)


def short_name(key: str) -> str:
    """The file name of a path, or the first 12 characters of an id, which the commands accept."""
    return key.rpartition("/")[2] if "/" in key else key[:12]


def format_shards(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{state} {row[state]:,} ({row[f'bytes_{state}'] / 1e6:,.1f} MB)" for state in ("kept", "written", "removed")
    )
