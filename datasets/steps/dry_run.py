"""Dry run of planners on empty tables: checks that their SQL is valid and yields the columns that they declare."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import duckdb

from codi2_datasets.planning.edit_pairs import make_relations
from codi2_datasets.planning.planner import Planner
from codi2_datasets.steps.plan import describe, make_fusable
from codi2_datasets.steps.select import ATTRIBUTES
from codi2_storage.catalog.sql import identifier
from codi2_storage.tables import TABLES

_one_at_a_time = threading.Lock()  # a connection serves one thread


def check_planner(planner: Planner, options: Mapping[str, Any]) -> None:
    """Raise ColumnError if the SQL has other columns than the planner declares, ValueError for options that make it invalid."""
    chosen = {**planner.options, **options}
    every = {name: list(values) for name, values in planner.choices.items()}
    with _one_at_a_time:
        connection = nothing_selected()
        try:
            describe(connection, planner, chosen)
        except (duckdb.Error, LookupError, TypeError) as error:
            line = str(error).strip().splitlines()[0]
            raise ValueError(f"tasks.{planner.task}.options: no candidates can be made with them: {line}") from error
        planner.check_query(describe(connection, planner, {**chosen, **every}), every=True)


@cache
def nothing_selected() -> duckdb.DuckDBPyConnection:
    """An empty version of the tables that planners select from."""
    connection = duckdb.connect(":memory:")
    connection.register("assets", TABLES["assets"].empty_table())
    columns = ", ".join(f"null::{kind} as {identifier(name)}" for name, kind in ATTRIBUTES.items())
    connection.execute(f"create table selected as select *, {columns} from assets")
    make_relations(connection)
    make_fusable(connection)
    return connection
