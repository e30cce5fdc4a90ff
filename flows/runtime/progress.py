"""Progress with what is left of it on Prefect's page: long steps say how far they are in the log, and this add_handler.

    with progress_artifacts():
        ...

`codi2_datasets.runtime.progress` and training log lines with the fields done and total; they know nothing of Prefect. A step that is
over within seconds is not shown.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from codi2_flows.runtime.artifacts import slug

log = logging.getLogger("codi2.artifacts")
EVERY = 5.0  # seconds
SPEAKERS = ("codi2.progress", "codi2.train")


@dataclass
class Step:
    """A step under way: when its first line came and what was done by then; its artifact, once it has one."""

    began: float
    first: float
    shown: float
    artifact: UUID | None = None

    def seconds_left(self, done: float, total: float) -> float | None:
        """By the pace since the first line."""
        moved = done - self.first
        return (time.monotonic() - self.began) / moved * (total - done) if moved > 0 else None


class Shown(logging.Handler):
    """One artifact a step, made once it has gone on for a few seconds, and moved every few seconds."""

    def __init__(self, every: float = EVERY) -> None:
        super().__init__(logging.INFO)
        self.every = every
        self.context = copy_context()  # lines may come from threads that know of no run
        self.steps: dict[str, Step] = {}

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", None) or {}
        done, total = fields.get("done"), fields.get("total")
        if done is None or not total:
            return
        name, now = str(getattr(record, "step", "") or record.name.rpartition(".")[2]), time.monotonic()
        step = self.steps.setdefault(name, Step(now, done, now))
        over = done >= total
        if now - step.shown < self.every and not (over and step.artifact):
            return
        step.shown = now
        left = None if over else fields.get("seconds_left") or step.seconds_left(done, total)
        text = told(name, done, total, fields.get("unit", ""), left)
        try:
            self.context.copy().run(self.show, name, step, min(100.0, 100.0 * done / total), text)
        except Exception as error:  # the server is away: the next line moves it on
            log.debug("progress of %s is not on Prefect's page: %s", name, error)

    def show(self, name: str, step: Step, percent: float, text: str) -> None:
        if step.artifact is not None:
            update_progress_artifact(step.artifact, percent, text)
        else:
            key = f"progress-{slug(name)}"
            step.artifact = create_progress_artifact(percent, key=key, description=text)  # type: ignore[assignment]  # no loop here


def told(step: str, done: float, total: float, unit: str, left: float | None) -> str:
    """'write: 120 of 546 samples, 14 s left'"""
    count = f"{step}: {done:,} of {total:,} {unit}".rstrip()
    return count if left is None else f"{count}, {duration(left)} left"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress_artifacts() -> Iterator[None]:
    """Show the progress of the body; nothing outside of a run, or where no server is configured."""
    if not PREFECT_API_URL.value() or FlowRunContext.get() is None:
        yield
        return
    handler = Shown()
    loggers = [logging.getLogger(name) for name in SPEAKERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
