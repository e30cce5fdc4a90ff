"""What the commands share: options that many take, and tables on standard output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from codi2_model.checkpoints import NamedCheckpoint

Root = Annotated[str, Parameter(help="Folder or fsspec URI that holds everything.")]
Workers = Annotated[int, Parameter(help="Ray tasks at once.")]
CPUS = os.cpu_count() or 1
DEFAULT_ROOT = "./data"


def chosen_model(root: str, checkpoint: str | None) -> NamedCheckpoint:
    """The checkpoint that a command uses, said on standard error: the one named, else the promoted one, else the shipped one."""
    from codi2_model.checkpoints import resolve_named

    found = resolve_named(root, checkpoint)
    print(f"model: {found.name} ({found.folder})", file=sys.stderr)
    return found


def show(rows: list[dict], columns: list[str]) -> None:
    """Rows as a table on standard output, at full width where that is no terminal."""
    console = Console(width=None if sys.stdout.isatty() else 220)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        numbers = all(isinstance(row.get(column), (int, float, type(None))) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    console.print(table, highlight=False, markup=False)
    console.print(f"({len(rows):,} rows)", style="dim", highlight=False)


def cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    return str(value)
