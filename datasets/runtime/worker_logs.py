"""What workers log comes back with their results: no worker need reach the log of the run it works for.

Only where someone listens on the driver (a run's stream); warnings of any library from there on up, our own lines from INFO.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

OURS = logging.getLogger("codi2")
MOST = 100  # records of one item


@dataclass(frozen=True)
class Said:
    """A result, and what was logged while it came about."""

    result: Any
    records: list[dict[str, Any]] = field(default_factory=list)


def listened() -> bool:
    """Whether what our logger is told goes anywhere."""
    return OURS.isEnabledFor(logging.INFO) and bool(OURS.handlers)


def carrying(function: Callable[[Item], Result]) -> Callable[[Item], Said]:
    """The function, whose results bring along what was logged."""

    def call(item: Item) -> Said:
        records: list[dict[str, Any]] = []
        with gathered(records):
            return Said(function(item), records)

    call.__name__ = getattr(function, "__name__", "call")  # as Ray tells what runs
    return call


class Gather(logging.Handler):
    def __init__(self, records: list[dict[str, Any]]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.records) < MOST:
            fields = dict(getattr(record, "fields", None) or {})
            self.records.append(
                {
                    "name": record.name,
                    "levelno": record.levelno,
                    "levelname": record.levelname,
                    "msg": record.getMessage(),
                    "created": record.created,
                    "step": getattr(record, "step", None),
                    "fields": {**fields, "worker": os.getpid()},
                }
            )


@contextmanager
def gathered(records: list[dict[str, Any]]) -> Iterator[None]:
    """Put what is logged in the body into `records`."""
    handler, root = Gather(records), logging.getLogger()
    level, propagate = OURS.level, OURS.propagate
    root.addHandler(handler)
    OURS.addHandler(handler)
    OURS.setLevel(logging.INFO)
    OURS.propagate = False
    try:
        yield
    finally:
        OURS.setLevel(level)
        OURS.propagate = propagate
        root.removeHandler(handler)
        OURS.removeHandler(handler)


def unpacked(said: Said) -> Any:
    """The result; its records are logged here, in the name of those who said them."""
    for about in said.records:
        record = logging.makeLogRecord({**about, "step": about["step"] or about["name"].removeprefix("codi2.")})
        for handler in OURS.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
    return said.result
