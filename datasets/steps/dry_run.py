"""Dry run of planners on empty tables: checks that their SQL is valid and yields the columns that they declare."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import duckdb

from codi2_datasets.planning.edit_pairs import make_relations
from codi2_datasets.planning.planner import Planner
from codi2_datasets.planning.tables import OF_SELECT, create_tables
from codi2_datasets.steps.plan_task import describe, make_fusable

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
    create_tables(connection, *OF_SELECT)
    make_relations(connection)
    make_fusable(connection)
    return connection
