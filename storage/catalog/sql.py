"""Values and names within SQL text, where no parameter can be bound: lists, macros, and SQL that is put together."""

from __future__ import annotations

from collections.abc import Iterable


def literal(value: str) -> str:
    """A string as SQL writes it, whatever stands in it.

    >>> literal("it's")
    "'it''s'"
    """
    quoted = "'" + value.replace("'", "''") + "'"
    return quoted.replace("\0", "' || chr(0) || '") if "\0" in value else quoted


def literals(values: Iterable[str]) -> str:
    """Strings, with commas between them."""
    return ", ".join(map(literal, values))


def identifier(name: str) -> str:
    """A name of a table or column, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'


def case(subject: str, choices: Iterable[tuple[str, str]], otherwise: str = "null") -> str:
    """SQL for the expression that belongs to the subject's value, of (value, expression)."""
    branches = " ".join(f"when {literal(value)} then {expression}" for value, expression in choices)
    return f"(case {subject} {branches} else {otherwise} end)" if branches else otherwise
