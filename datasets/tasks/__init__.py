"""Task planners. Each is one small file with a `PLANNER`; adding a file registers the task."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.planning.planner import Columns, Planner
from codi2_datasets.planning.templates import nearest

__all__ = ["Columns", "Planner", "check_task", "planners"]


@cache
def planners() -> dict[str, Planner]:
    """All planners, by task."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    registered = [module.PLANNER for module in modules]
    return {planner.task: planner for planner in sorted(registered, key=lambda planner: planner.task)}


def check_task(name: str) -> None:
    """Raises ValueError if there is no task of that name."""
    if name not in planners():
        raise ValueError(f"unknown task {name!r}{nearest(name, planners())}")
