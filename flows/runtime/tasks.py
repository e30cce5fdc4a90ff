"""What all tasks share: they are tried again after what passes by itself, and end where they hang.

    @task(name="ingests", **TASK_OPTIONS)

Results are not Prefect's to keep: every task asks the catalog first, by the hash of its inputs and of the versions of the
operators involved, and does what is missing. So a retry, a rerun and a resumed run go on where the last one stopped, an
equal call does nothing, and a changed operator version does its part again.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import logging
import os
from typing import Any, TypedDict

from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError

from codi2_storage.coordination.transient_errors import is_transient

log = logging.getLogger("codi2.retry")
HOURS = "CODI2_TASK_HOURS"  # how long a task may take, where that is not 48 hours


class Options(TypedDict):
    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Any
    timeout_seconds: float


def passes(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try."""
    error = state.data
    if not isinstance(error, Exception) or isinstance(error, TaskRunTimeoutError) or not is_transient(error):
        return False
    about = {"step": task.name, "fields": {"error": type(error).__name__, "tries": task_run.run_count}}
    log.warning("this passes by itself: %s", error, extra=about)
    return True


def hours() -> float:
    """Raises ValueError for what is no number above 0."""
    given = os.environ.get(HOURS, "48")
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise ValueError(f"${HOURS}={given}: hours that a task may take, more than 0")
    return found


# a minute without the store is survived: 5 + 20 + 60 seconds, each longer by up to half
TASK_OPTIONS: Options = {
    "retries": 3,
    "retry_delay_seconds": [5.0, 20.0, 60.0],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": passes,
    "timeout_seconds": hours() * 3600,
}
