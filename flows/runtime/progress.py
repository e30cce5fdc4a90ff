"""Prefect progress artifacts, created from log records with the fields `done` and `total`.

    with progress_artifacts():
        ...

`codi2_datasets.runtime.progress` and training log such records without a dependency on Prefect. A step that ends within
seconds has no artifact.
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

from codi2_flows.runtime.artifacts import slug
from codi2_flows.runtime.temporary_server import server_configured

log = logging.getLogger("codi2.artifacts")
EVERY = 5.0  # seconds between two updates
LOGGERS = ("codi2.progress", "codi2.train")


@dataclass
class Step:
    """A running step. `first`: `done` of its first record, at time `began`. `updated`: time of the last update."""

    began: float
    first: float
    updated: float
    artifact: UUID | None = None

    def seconds_left(self, done: float, total: float) -> float | None:
        """Estimate from the pace since the first record."""
        progressed = done - self.first
        return (time.monotonic() - self.began) / progressed * (total - done) if progressed > 0 else None


class ProgressHandler(logging.Handler):
    """Creates one artifact for each step that takes longer than a few seconds, and updates it every few seconds."""

    def __init__(self, every: float = EVERY) -> None:
        super().__init__(logging.INFO)
        self.every = every
        self.context = copy_context()  # records may come from threads without the context of the run
        self.steps: dict[str, Step] = {}

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", None) or {}
        done, total = fields.get("done"), fields.get("total")
        if done is None or not total:
            return
        name, now = str(getattr(record, "step", "") or record.name.rpartition(".")[2]), time.monotonic()
        step = self.steps.setdefault(name, Step(now, done, now))
        over = done >= total
        if now - step.updated < self.every and not (over and step.artifact):
            return
        step.updated = now
        left = None if over else fields.get("seconds_left") or step.seconds_left(done, total)
        text = progress_text(name, done, total, fields.get("unit", ""), left)
        try:
            self.context.copy().run(self.update, name, step, min(100.0, 100.0 * done / total), text)
        except Exception as error:  # for example an unreachable server: the next record updates the artifact
            log.debug("cannot update the progress artifact of %s: %s", name, error)

    def update(self, name: str, step: Step, percent: float, text: str) -> None:
        if step.artifact is not None:
            update_progress_artifact(step.artifact, percent, text)
        else:
            key = f"progress-{slug(name)}"
            step.artifact = create_progress_artifact(percent, key=key, description=text)  # type: ignore[assignment]  # not a coroutine without an event loop


def progress_text(step: str, done: float, total: float, unit: str, left: float | None) -> str:
    """For example 'write: 120 of 546 samples, 14 s left'. `left`: seconds."""
    count = f"{step}: {done:,} of {total:,} {unit}".rstrip()
    return count if left is None else f"{count}, {duration(left)} left"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress_artifacts() -> Iterator[None]:
    """Create artifacts for the steps of the body. Does nothing outside of a flow run or without a configured server."""
    if not server_configured() or FlowRunContext.get() is None:
        yield
        return
    handler = ProgressHandler()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
