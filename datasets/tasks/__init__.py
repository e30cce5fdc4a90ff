"""Task planners. Each is one small file with a `PLANNER`; adding a file registers the task."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.planning.planner import Columns, Planner

__all__ = ["Columns", "Planner", "planners"]


@cache
def planners() -> dict[str, Planner]:
    """All planners, by task."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    registered = [module.PLANNER for module in modules]
    return {planner.task: planner for planner in sorted(registered, key=lambda planner: planner.task)}
