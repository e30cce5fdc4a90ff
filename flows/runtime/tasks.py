"""Options of all Prefect tasks: transient errors are retried, and a task that hangs is ended by a timeout.

    @task(name="ingests", **TASK_OPTIONS)

Results are not stored in Prefect. Every task looks up finished work in the catalog, by the hash of its inputs and of the
operator versions, and does only what is missing. Retries, reruns and resumed runs therefore continue where the last one
stopped, an equal call does nothing, and a changed operator version repeats only its own part.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import logging
import os
from typing import Any, TypedDict

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError

from codi2_storage.coordination.transient_errors import is_transient

log = logging.getLogger("codi2.retry")
HOURS = "CODI2_TASK_HOURS"  # environment variable: timeout of a task in hours (48 by default)


class Options(TypedDict):
    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Any
    timeout_seconds: float
    cache_policy: Any


def should_retry(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a task failed with a transient error, so that a retry can succeed."""
    error = state.data
    if not isinstance(error, Exception) or isinstance(error, TaskRunTimeoutError) or not is_transient(error):
        return False
    extra = {"step": task.name, "fields": {"error": type(error).__name__, "tries": task_run.run_count}}
    log.warning("transient error, the task is retried: %s", error, extra=extra)
    return True


def timeout_hours() -> float:
    """The timeout of a task. Raises ValueError if the environment variable is not a number above 0."""
    text = os.environ.get(HOURS, "48")
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if hours <= 0:
        raise ValueError(f"${HOURS}={text}: set it to the timeout of a task in hours, a number above 0")
    return hours


# 5 + 20 + 60 seconds, each longer by up to half: tasks survive a store that is unreachable for a minute
TASK_OPTIONS: Options = {
    "retries": 3,
    "retry_delay_seconds": [5.0, 20.0, 60.0],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": should_retry,
    "timeout_seconds": timeout_hours() * 3600,
    "cache_policy": NO_CACHE,  # by default Prefect hashes all inputs of a task
}
