"""The command `plugins`: lists the corpora, operators, tasks, decoders and other parts of this project and of installed packages."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from codi2_datasets.runtime.plugins import Kind
from codi2_flows.cli.output.json_output import Json, print_json
from codi2_flows.cli.output.tables import show

KINDS = (
    "codi2_datasets.corpora", "codi2_datasets.connectors", "codi2_datasets.operators", "codi2_datasets.transforms",
    "codi2_datasets.tasks", "codi2_datasets.exports.registry", "codi2_model.evaluation.suites",
)  # fmt: skip
"""Modules with a `KIND` of parts."""


def kinds() -> Iterator[Kind]:
    """All kinds of parts that a package can add."""
    from codi2_model.options import DECODERS, ENCODERS
    from codi2_model.tracking import TRACKERS

    yield from (import_module(module).KIND for module in KINDS)
    yield from (ENCODERS, DECODERS, TRACKERS)


def plugins(*, json: Json = False) -> None:
    """List the parts that a file or an installed package can add: corpora, operators, tasks, exports, decoders and others."""
    rows = [
        {"kind": kind.name, "name": name, "from": where} for kind in kinds() for name, where in kind.origins().items()
    ]
    if json:
        print_json(rows)
    else:
        show(rows, ["kind", "name", "from"])


PLUGIN_COMMANDS = (plugins,)
