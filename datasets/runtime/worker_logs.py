"""Returns the log records of Ray workers with their results, so that workers need no access to the run's log.

Only if the driver has a log handler (the run's log). Records: warnings and above of any library, INFO and above of
ours.
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
MOST = 100  # records per item


@dataclass(frozen=True)
class ResultWithLogs:
    """A result and the log records made while it was computed."""

    result: Any
    records: list[dict[str, Any]] = field(default_factory=list)


def logs_enabled() -> bool:
    """Whether the codi2 logger has a handler that INFO records reach."""
    return OURS.isEnabledFor(logging.INFO) and bool(OURS.handlers)


def with_worker_logs(function: Callable[[Item], Result]) -> Callable[[Item], ResultWithLogs]:
    """Wrap a function so that its results carry the log records."""

    def call(item: Item) -> ResultWithLogs:
        records: list[dict[str, Any]] = []
        with collected_logs(records):
            return ResultWithLogs(function(item), records)

    call.__name__ = getattr(function, "__name__", "call")  # the name that Ray displays
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
def collected_logs(records: list[dict[str, Any]]) -> Iterator[None]:
    """Collect the records logged in the body into `records`."""
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


def replay_logs(bundle: ResultWithLogs) -> Any:
    """Return the result, after logging its records in this process under their original logger names."""
    for about in bundle.records:
        record = logging.makeLogRecord({**about, "step": about["step"] or about["name"].removeprefix("codi2.")})
        for handler in OURS.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
    return bundle.result
