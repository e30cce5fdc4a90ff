"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUICK = 0.5  # seconds; what takes less is not worth a line


class Advance(Protocol):
    def __call__(self, amount: int = 1) -> None: ...


@contextmanager
def progress(label: str, total: int | None, unit: str = "rows", every: float = 10.0) -> Iterator[Advance]:
    """Yield a function that counts work done. Writes to stderr, so that standard output stays the result."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda amount=1: bar.update(task, advance=amount)
        return
    done, start, said = 0, time.monotonic(), time.monotonic()

    def advance(amount: int = 1) -> None:
        nonlocal done, said
        done += amount
        if time.monotonic() - said >= every:
            said = time.monotonic()
            print(f"{label}: {done:,}{f' of {total:,}' if total else ''} {unit}", file=sys.stderr, flush=True)

    yield advance
    if (seconds := time.monotonic() - start) >= QUICK:
        print(f"{label}: {done:,} {unit} in {seconds:.1f} s", file=sys.stderr, flush=True)
