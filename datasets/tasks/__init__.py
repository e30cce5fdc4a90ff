"""Task planners. Each is one small file with a `PLANNER`; adding a file registers the task.

The columns that a planner's SQL yields are listed in `codi2_datasets.planning.planner`.
"""

from __future__ import annotations

from functools import cache

from codi2_datasets.planning.planner import Planner
from codi2_datasets.runtime.plugins import Kind

__all__ = ["Planner", "planners"]


KIND = Kind("tasks", __name__, "PLANNER", key="task", required=True)


@cache
def planners() -> dict[str, Planner]:
    """All planners, by task."""
    return KIND.parts()
