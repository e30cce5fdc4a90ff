"""The commands that say what a root keeps: `gc`, `pin`, `unpin`, `compact`."""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_flows.cli.output.tables import show
from codi2_storage.store import Store

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Json = Annotated[bool, Parameter(name="--json", negative="", help="Everything as JSON.")]


class UsageError(ValueError):
    """An option that does not hold; the message names it."""


def gc(
    *,
    root: Root = DEFAULT_ROOT,
    keep: Annotated[int, Parameter(help="Newest builds of each recipe that stay.")] = 3,
    models: Annotated[int, Parameter(help="Models that stay: the one in place, and those in place before it.")] = 2,
    grace: Annotated[
        str, Parameter(help="How old what nobody names must be before it goes: 90s, 30m, 12h, 1d.")
    ] = "1d",
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would go, and remove nothing.")] = False,
    json_: Json = False,
) -> None:
    """Remove old builds and runs, and files that nothing names. Pinned builds and what live models stand on stay."""
    from codi2_datasets.runtime.progress import progress
    from codi2_storage.gc.collector import collect, plan
    from codi2_storage.gc.retention import Policy

    if keep < 1 or models < 1:
        raise UsageError("--keep and --models: at least 1")
    store, policy = existing(root), Policy(keep, models, seconds(grace))
    if dry_run:
        found = plan(store, policy)
    else:
        with progress("collect", None, "files") as advance:
            found = collect(store, policy, advance=advance)
    if json_:
        print(json.dumps({"kept": [[*key, why] for key, why in found.kept.items()], "lines": found.table()}))
        return
    stays = [{"stays": f"{kind} {name}", "why": why} for (kind, name), why in sorted(found.kept.items())]
    show(stays, ["stays", "why"])
    show([{**line, "bytes": f"{line['bytes']:,}"} for line in found.table()], ["kind", "count", "bytes", "why"])
    size = sum(item.bytes for item in found.going)
    print(f"{'would remove' if dry_run else 'removed'} {len(found.going):,} things, {size / 1e6:,.1f} MB")


def pin(
    target: Annotated[str, Parameter(help="Build or checkpoint, by its id or the beginning of it.")],
    *,
    root: Root = DEFAULT_ROOT,
    reason: Annotated[str, Parameter(help="Why it is kept, for those who come later.")] = "",
) -> None:
    """Keep a build or a checkpoint, and what it stands on, whatever `codi2 gc` removes. Prints its id last."""
    from codi2_storage.gc import pins

    made = pins.pin(existing(root), target, reason)
    print(f"pinned {made.kind}", file=sys.stderr)
    print(made.target)


def unpin(
    target: Annotated[str, Parameter(help="What was pinned, by its id or the beginning of it.")],
    *,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Take a pin away: the next `codi2 gc` treats it as any other. Prints its id last."""
    from codi2_storage.gc import pins

    print(pins.unpin(existing(root), target).target)


def compact(*, root: Root = DEFAULT_ROOT) -> None:
    """Make few files of the many small manifests of ingests. No build sees a difference; `codi2 gc` removes the old ones."""
    from codi2_datasets.runtime.progress import progress
    from codi2_storage.gc.compact import compact as run

    with progress("compact", None, "files") as advance:
        done = run(existing(root), advance)
    if done.commits:
        print(
            f"{done.commits:,} commits: {done.files_after:,} files in place of {done.files_before:,}, {done.rows:,} rows"
        )
    else:
        print("nothing to do: few commits lie loose")


def existing(root: str) -> Store:
    """The root's store. Raises UsageError where nothing lies there: a mistyped root has nothing to keep."""
    store = Store(root)
    if not store.exists("catalog"):
        raise UsageError(f"--root {root}: no catalog there")
    return store


def seconds(text: str) -> float:
    """A span of time in seconds; a bare number is seconds. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not found:
        raise UsageError(f"--grace {text}: write 90s, 30m, 12h or 1d")
    return float(found[1]) * UNITS[found[2] or "s"]


KEEP_COMMANDS = (gc, pin, unpin, compact)
