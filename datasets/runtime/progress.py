"""Progress of long work: a progress bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger("codi2.progress")  # also kept in the run's log, on a terminal and elsewhere
QUICK = 0.5  # seconds; shorter work gets no line


class Advance(Protocol):
    def __call__(self, amount: int = 1) -> None: ...


@contextmanager
def progress(label: str, total: int | None, unit: str = "rows", every: float = 10.0) -> Iterator[Advance]:
    """Yield a function that counts work done. Writes to stderr, so that stdout holds the result alone."""
    console = Console(stderr=True)
    done, start, reported = 0, time.monotonic(), time.monotonic()
    about = {"step": label}

    def counted(amount: int) -> bool:
        """Add to the count; return whether a line is due."""
        nonlocal done, reported
        done += amount
        if time.monotonic() - reported < every:
            return False
        reported = time.monotonic()
        left = (reported - start) / done * (total - done) if total and done else None
        fields = {
            "done": done,
            "total": total,
            "unit": unit,
            "seconds_left": round(left, 1) if left is not None else None,
        }
        log.info("%s", far(), extra={**about, "fields": fields})
        return True

    def far() -> str:
        return f"{label}: {done:,}{f' of {total:,}' if total else ''} {unit}"

    def at_end() -> str:
        return f"{label}: {done:,} {unit} in {time.monotonic() - start:.1f} s"

    if console.is_terminal:
        columns = TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label, total=total)

            def move(amount: int = 1) -> None:
                counted(amount)
                bar.update(task, advance=amount)

            yield move
    else:

        def advance(amount: int = 1) -> None:
            if counted(amount):
                print(far(), file=sys.stderr, flush=True)

        yield advance
        if time.monotonic() - start >= QUICK:
            print(at_end(), file=sys.stderr, flush=True)
    log.info("%s", at_end(), extra={**about, "fields": {"done": done, "total": total, "unit": unit}})
