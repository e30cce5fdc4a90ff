"""Progress with what is left of it on Prefect's page: long steps say how far they are in the log, and this listens.

    with shown_progress():
        ...

`codi2_datasets.progress` and training log a line every few seconds, with the fields done, total and seconds_left; they know
nothing of Prefect. A step that is over before its first line is not shown.
"""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from codi2_flows.artifacts import slug

log = logging.getLogger("codi2.artifacts")
SPEAKERS = ("codi2.progress", "codi2.train")


class Shown(logging.Handler):
    """One artifact a step, made by its first line and moved by the next ones."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.context = copy_context()  # lines may come from threads that know of no run
        self.made: dict[str, UUID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", None) or {}
        step = str(getattr(record, "step", "") or record.name.rpartition(".")[2])
        if not fields.get("total") or (step not in self.made and fields.get("seconds_left") is None):
            return
        try:
            self.context.copy().run(self.show, step, fields)
        except Exception as error:  # the server is away: the next line moves it on
            log.debug("progress of %s is not on Prefect's page: %s", step, error)

    def show(self, step: str, fields: dict[str, Any]) -> None:
        percent = min(100.0, 100.0 * fields["done"] / fields["total"])
        says = told(step, fields)
        if step in self.made:
            update_progress_artifact(self.made[step], percent, says)
        else:
            made = create_progress_artifact(percent, key=f"progress-{slug(step)}", description=says)
            self.made[step] = made  # type: ignore[assignment]  # an id, out of a synchronous run


def told(step: str, fields: dict[str, Any]) -> str:
    """'write: 120 of 546 samples, 14 s left'"""
    left = fields.get("seconds_left")
    count = f"{step}: {fields['done']:,} of {fields['total']:,} {fields.get('unit', '')}".rstrip()
    return count if left is None else f"{count}, {duration(left)} left"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


@contextmanager
def shown_progress() -> Iterator[None]:
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
