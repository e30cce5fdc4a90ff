"""The tables that select hands to plan, and plan to write: their columns, in one place."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.templates import nearest
from codi2_storage.catalog.sql import columns_of, identifier
from codi2_storage.tables import TABLES

S, I = pa.string(), pa.int64()  # noqa: E741
LIST = pa.list_(S)
ATTRIBUTES = ("concept", "family", "style", "kind", "group")  # that every corpus may use


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS: dict[str, pa.Schema] = {
    "selected": TABLES["assets"],  # assets in use; with a column for each of `attribute_names`
    "rejected": TABLES["rejects"],
    "ledger": TABLES["op_runs"],
    # media ('media') and texts ('related') that a text names; position from 1
    "links": _schema(text_id=S, role=S, position=I, target=S),
    # texts all of whose media are selected: their turns, media in order, and the media's groups of near-duplicates
    "spoken": _schema(
        asset_id=S, kind=S, corpus=S, family=S, attributes=S, turns=LIST, media=LIST, near=LIST, split=S, holdout=S
    ),
    # ordered pairs (query, target) of images that differ in one attribute, or as a corpus says: see `edit_pairs`
    "edits": _schema(
        kind=S, relation=S, query=S, target=S, family=S, concept=S, source_concept=S, style=S, source_style=S, word=S,
        alike=pa.bool_(), instruction=S, told_by=S, split=S, holdout=S
    ),
    # samples without their shard, and media to be made without their bytes
    "planned_samples": TABLES["samples"],
    "planned_parts": TABLES["parts"],
    "derived": TABLES["assets"],
}  # fmt: skip
OF_SELECT = ("selected", "rejected", "ledger", "links", "spoken")
OF_PLAN = ("planned_samples", "planned_parts", "derived", "rejected", "ledger")


class TableError(ValueError):
    """A step left a table with other columns than the next one reads. The message names the table and the column."""


def attribute_names() -> list[str]:
    """The attributes that are columns of `selected`: those of every corpus, and those that corpora declare."""
    declared = [name for attribute in attributes().values() for name in (attribute.name, *attribute.same)]
    if taken := sorted({*TABLES["assets"].names, "kind"} & set(declared)):
        raise ValueError(f"attribute {taken[0]!r} of a corpus has the name of a column of assets")
    return list(dict.fromkeys((*ATTRIBUTES, *declared)))


def schema_of(name: str) -> pa.Schema:
    more = [(attribute, S) for attribute in attribute_names()] if name == "selected" else []
    return pa.schema([*SCHEMAS[name], *more])


def create_tables(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Create these tables, empty."""
    for name in names:
        connection.execute(f"create table {identifier(name)} ({columns_of(schema_of(name))})")


def check_tables(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Check that these tables have the columns of their schema, in any order. Raises TableError."""
    for name in names:
        wanted = {field.name: field.type for field in schema_of(name)}
        actual = {field.name: field.type for field in connection.table(name).limit(0).to_arrow_table().schema}
        for column in [column for column in {**wanted, **actual} if wanted.get(column) != actual.get(column)]:
            if column in wanted and column in actual:
                raise TableError(f"table {name}: column {column} is {actual[column]} and must be {wanted[column]}")
            what = "lacks the column" if column in wanted else "has an unknown column"
            raise TableError(f"table {name} {what} {column}{nearest(column, actual if column in wanted else wanted)}")
