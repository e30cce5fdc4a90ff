"""Tables on standard output: laid out for a terminal, one line for each row in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

FIRST = 1_000  # rows that determine the column widths; a longer cell of a later row shifts the rest of its row


def show(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table. Cells are neither cut nor wrapped unless standard output is a terminal."""
    source = iter(rows)
    first = list(islice(source, FIRST + 1))
    if sys.stdout.isatty() and len(first) <= FIRST:
        show_on_terminal(first, columns)
        return
    for line in lines(first, source, columns):
        sys.stdout.write(f"{line}\n")


def show_on_terminal(rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print rows with rich, which wraps cells if the terminal is narrower than the table."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if numeric(rows, column) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    console.print(table, highlight=False, markup=False)
    console.print(f"({len(rows):,} rows)", style="dim", highlight=False)


def lines(first: list[dict[str, Any]], others: Iterable[dict[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """The lines of the table. The rows of `others` are read one by one."""
    right = [numeric(first, column) for column in columns]
    widths = [max(map(len, (column, *(cell(row.get(column)) for row in first)))) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = (
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    count = 0
    yield line(columns)
    for row in chain(first, others):
        count += 1
        yield line([cell(row.get(column)) for column in columns])
    yield f"({count:,} rows)"


def numeric(rows: Iterable[dict[str, Any]], column: str) -> bool:
    return all(isinstance(row.get(column), int | float | None) for row in rows)


def cell(value: object) -> str:
    """A value on one line. Control characters are escaped, so that a caption cannot control the terminal."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
