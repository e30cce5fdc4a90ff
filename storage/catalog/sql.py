"""Quoting of values and names in SQL text where no parameter can be bound: lists, macros, and composed queries."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

TYPES = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.float32(): "float",
    pa.bool_(): "boolean",
}


def literal(value: str) -> str:
    """A string as a SQL literal, with quotes and NUL characters escaped.

    >>> literal("it's")
    "'it''s'"
    """
    quoted = "'" + value.replace("'", "''") + "'"
    return quoted.replace("\0", "' || chr(0) || '") if "\0" in value else quoted


def literals(values: Iterable[str]) -> str:
    """Strings as SQL literals, separated by commas."""
    return ", ".join(map(literal, values))


def identifier(name: str) -> str:
    """The name of a table or column as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def case(subject: str, choices: Iterable[tuple[str, str]], otherwise: str = "null") -> str:
    """A SQL CASE expression over a subject, built from (value, expression) pairs."""
    branches = " ".join(f"when {literal(value)} then {expression}" for value, expression in choices)
    return f"(case {subject} {branches} else {otherwise} end)" if branches else otherwise


def columns_of(schema: pa.Schema) -> str:
    """The columns of a schema with their types, as `create table` wants them.

    An empty Arrow table says the same, but DuckDB imports pandas for it, which takes as long as the rest of a query.
    """
    return ", ".join(f"{identifier(field.name)} {type_of(field.type)}" for field in schema)


def type_of(kind: pa.DataType) -> str:
    return f"{type_of(kind.value_type)}[]" if pa.types.is_list(kind) else TYPES[kind]
