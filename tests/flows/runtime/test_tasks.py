"""Tasks are tried again after what passes by itself, and after nothing else; a hang ends."""

from __future__ import annotations

import time

import pytest
from prefect import flow, task

from codi2_flows.runtime import tasks
from codi2_flows.runtime.tasks import TASK_OPTIONS


def test_what_passes_is_tried_again_and_the_rest_is_not() -> None:
    tried: list[str] = []

    @task(**{**TASK_OPTIONS, "retry_delay_seconds": [0.0, 0.0, 0.0]})
    def fails(kind: str) -> str:
        tried.append(kind)
        if kind == "reset" and tried.count("reset") < 3:
            raise ConnectionResetError("gone")
        if kind == "mistake":
            raise ValueError("no")
        return "done"

    @task(**{**TASK_OPTIONS, "timeout_seconds": 0.5, "retry_delay_seconds": [0.0]})
    def hangs() -> None:
        tried.append("hang")
        time.sleep(3)

    @flow
    def all_of_it() -> str:
        with pytest.raises(ValueError):
            fails("mistake")
        with pytest.raises(TimeoutError):
            hangs()
        return fails("reset")

    start = time.monotonic()
    assert all_of_it() == "done"
    assert tried.count("reset") == 3 and tried.count("mistake") == 1 and tried.count("hang") == 1
    assert time.monotonic() - start < 60


def test_how_long_a_task_may_take_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tasks.HOURS, "0.5")
    assert tasks.timeout_hours() == 0.5
    monkeypatch.setenv(tasks.HOURS, "soon")
    with pytest.raises(ValueError, match="CODI2_TASK_HOURS=soon"):
        tasks.timeout_hours()
    assert TASK_OPTIONS["timeout_seconds"] == 48 * 3600
