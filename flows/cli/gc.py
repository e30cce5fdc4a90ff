"""The commands of garbage collection: `gc`, `pin`, `unpin`, `compact`."""

from __future__ import annotations

import re
import sys
from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_flows.cli.output.json_output import Json, print_json
from codi2_flows.cli.output.tables import show
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def gc(
    *,
    root: Root = DEFAULT_ROOT,
    keep: Annotated[int, Parameter(help="Newest builds of each recipe to keep.")] = 3,
    models: Annotated[int, Parameter(help="Promoted models to keep: the current one and those before it.")] = 2,
    grace: Annotated[str, Parameter(help="Age at which unreferenced files are deleted: 90s, 30m, 12h, 1d.")] = "1d",
    dry_run: Annotated[bool, Parameter(negative="", help="Print what would be deleted, and delete nothing.")] = False,
    json: Json = False,
) -> None:
    """Delete old builds and runs, and unreferenced files.

    Never deletes pinned builds and checkpoints, promoted models, or their dependencies.
    """
    from codi2_datasets.runtime.progress import progress
    from codi2_storage.gc.collector import collect, plan
    from codi2_storage.gc.retention import Policy

    for option, value in (("--keep", keep), ("--models", models)):
        if value < 1:
            raise UsageError(f"{option} {value}: must be at least 1")
    store, policy = existing_store(root), Policy(keep, models, seconds(grace))
    if dry_run:
        deletion = plan(store, policy)
    else:
        with progress("collect", None, "files") as advance:
            deletion = collect(store, policy, advance=advance)
    if json:
        kept = [[*key, reason] for key, reason in deletion.kept.items()]
        print_json({"kept": kept, "lines": deletion.table()})
        return
    kept_rows = [{"kept": f"{kind} {name}", "why": reason} for (kind, name), reason in sorted(deletion.kept.items())]
    show(kept_rows, ["kept", "why"])
    show([{**row, "bytes": f"{row['bytes']:,}"} for row in deletion.table()], ["kind", "count", "bytes", "why"])
    size = sum(item.bytes for item in deletion.going)
    print(f"{'would delete' if dry_run else 'deleted'} {len(deletion.going):,} items, {size / 1e6:,.1f} MB")


def pin(
    target: Annotated[str, Parameter(help="Build or checkpoint: its id, or the first characters of it.")],
    *,
    root: Root = DEFAULT_ROOT,
    reason: Annotated[str, Parameter(help="Reason, which `codi2 gc` and `codi2 status` show.")] = "",
) -> None:
    """Exclude a build or checkpoint and its dependencies from `codi2 gc`.

    The last line of output is its id.
    """
    from codi2_storage.gc import pins

    pinned = pins.pin(existing_store(root), target, reason)
    print(f"pinned {pinned.kind}", file=sys.stderr)
    print(pinned.target)


def unpin(
    target: Annotated[str, Parameter(help="Pinned build or checkpoint: its id, or the first characters of it.")],
    *,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Remove a pin, so that `codi2 gc` can delete the build or checkpoint again.

    The last line of output is its id.
    """
    from codi2_storage.gc import pins

    print(pins.unpin(existing_store(root), target).target)


def compact(*, root: Root = DEFAULT_ROOT) -> None:
    """Merge the many small manifests of ingests into few large files.

    Queries return the same rows. `codi2 gc` deletes the replaced files.
    """
    from codi2_datasets.runtime.progress import progress
    from codi2_storage.gc.compact import LEAST
    from codi2_storage.gc.compact import compact as compact_manifests

    with progress("compact", None, "files") as advance:
        result = compact_manifests(existing_store(root), advance)
    if result.commits:
        print(
            f"compacted {result.commits:,} commits: {result.files_before:,} files -> {result.files_after:,}, "
            f"{result.rows:,} rows"
        )
    else:
        print(f"nothing to compact: fewer than {LEAST} loose commits")


def existing_store(root: str) -> Store:
    """The store of the root. Raises UsageError if it has no catalog, for example because of a typing error."""
    store = Store(root)
    if not store.exists("catalog"):
        raise UsageError(f"--root {root}: no catalog there")
    return store


def seconds(text: str) -> float:
    """A duration such as 90s, 30m, 12h or 1d in seconds. A number without a unit is in seconds. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match:
        raise UsageError(f"--grace {text}: not a duration; write 90s, 30m, 12h or 1d")
    return float(match[1]) * UNITS[match[2] or "s"]


KEEP_COMMANDS = (gc, pin, unpin, compact)
