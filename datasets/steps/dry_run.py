"""Planners tried on empty tables, before any work: their SQL is one, and their templates name columns that it has."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import duckdb

from codi2_datasets.planning.edit_pairs import make_relations
from codi2_datasets.planning.phrasing import check_templates
from codi2_datasets.steps.plan import columns_of, make_fusable
from codi2_datasets.steps.select import ATTRIBUTES
from codi2_datasets.tasks import Planner
from codi2_storage.catalog.sql import identifier
from codi2_storage.catalog.tables import TABLES

_one_at_a_time = threading.Lock()  # a connection serves one thread


def check_planner(planner: Planner, options: Mapping[str, Any]) -> None:
    """Raises TemplateError for a template that names what no candidate has, ValueError for options that give no SQL."""
    given = {**planner.options, **options}
    with _one_at_a_time:
        connection = nothing_selected()
        try:
            columns_of(connection, planner.candidates(given))
        except (duckdb.Error, LookupError, TypeError) as error:
            line = str(error).strip().splitlines()[0]
            raise ValueError(f"tasks.{planner.task}.options: no candidates can be made with them: {line}") from error
        every = {name: list(values) for name, values in planner.choices.items()}
        columns = columns_of(connection, planner.candidates({**given, **every}))
    check_templates(planner, columns)


@cache
def nothing_selected() -> duckdb.DuckDBPyConnection:
    """What planners select from, with no row in it."""
    connection = duckdb.connect(":memory:")
    connection.register("assets", TABLES["assets"].empty_table())
    columns = ", ".join(f"null::{kind} as {identifier(name)}" for name, kind in ATTRIBUTES.items())
    connection.execute(f"create table selected as select *, {columns} from assets")
    make_relations(connection)
    make_fusable(connection)
    return connection
