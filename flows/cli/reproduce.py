"""The command `reproduce`: rebuilds a build or retrains a checkpoint and compares the bytes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import CPUS, DEFAULT_ROOT, Root, Workers
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_server


def reproduce(
    target: Annotated[
        str,
        Parameter(
            help="Build or checkpoint: its id, `latest` (build), `promoted` (checkpoint), or a checkpoint folder."
        ),
    ],
    *,
    root: Root = DEFAULT_ROOT,
    out: Annotated[str | None, Parameter(help="Folder or URI for the new copy. Default: a temporary folder.")] = None,
    workers: Workers = CPUS,
) -> None:
    """Rebuild a build or retrain a checkpoint from its catalog row, and compare the bytes.

    The exit status is 1 if they differ.
    """
    from codi2_model.checkpoints.lookup import find
    from codi2_storage.store import Store

    find(Store(root), target)  # a wrong name is reported before anything starts
    start_server()
    from codi2_flows.reproduce import reproduce as flow

    result = flow(target, root, out, workers)
    columns = {"what": "what", "number": "compared", "different": "different", "first": "first difference"}
    rows = [{columns[key]: value for key, value in asdict(item).items() if key in columns} for item in result.compared]
    show(rows, list(columns.values()))
    for item in result.compared:
        if item.note:
            print(f"{item.what}: {item.note}", file=sys.stderr)
    for change in result.changed:
        print(f"changed since the original: {change}", file=sys.stderr)
    print(f"{'identical' if result.identical else 'different'}: {result.kind} {result.id}")
    if not result.identical:
        sys.exit(1)


REPRODUCE_COMMANDS = (reproduce,)
