"""The command that makes a build or a checkpoint again and compares bytes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import CPUS, DEFAULT_ROOT, Root, Workers
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_early


def reproduce(
    target: Annotated[str, Parameter(help="Build or checkpoint by id, checkpoint folder, 'latest' or 'promoted'.")],
    *,
    root: Root = DEFAULT_ROOT,
    out: Annotated[str | None, Parameter(help="Folder or URI to keep the new one in; else it is removed.")] = None,
    workers: Workers = CPUS,
) -> None:
    """Make a build or a checkpoint again from what the catalog says of it; compare bytes. Exit status 1 where they differ."""
    from codi2_model.checkpoints.lookup import find
    from codi2_storage.store import Store

    find(Store(root), target)  # a wrong name is told before anything starts
    start_early()
    from codi2_flows.reproduce import reproduce as flow

    found = flow(target, root, out, workers)
    columns = {"what": "what", "number": "compared", "different": "different", "first": "first difference"}
    rows = [{columns[key]: value for key, value in asdict(line).items() if key in columns} for line in found.compared]
    show(rows, list(columns.values()))
    for line in found.compared:
        if line.note:
            print(f"{line.what}: {line.note}", file=sys.stderr)
    for text in found.changed:
        print(f"not as it was: {text}", file=sys.stderr)
    print(f"{'identical' if found.identical else 'different'}: {found.kind} {found.id}")
    if not found.identical:
        sys.exit(1)


REPRODUCE_COMMANDS = (reproduce,)
