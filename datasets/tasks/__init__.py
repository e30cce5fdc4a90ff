"""Task planners. Each is one small file with a `PLANNER`; adding a file registers the task."""

from __future__ import annotations

from functools import cache

from codi2_datasets.planning.planner import Columns, Planner
from codi2_datasets.planning.templates import nearest
from codi2_datasets.runtime.plugins import Kind

__all__ = ["Columns", "Planner", "check_task", "planners"]


KIND = Kind("tasks", __name__, "PLANNER", key="task", required=True)


@cache
def planners() -> dict[str, Planner]:
    """All planners, by task."""
    return KIND.parts()


def check_task(name: str) -> None:
    """Raises ValueError if there is no task of that name."""
    if name not in planners():
        raise ValueError(f"unknown task {name!r}{nearest(name, planners())}")
