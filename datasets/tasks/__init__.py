"""Task planners. Each is one small file with a `PLANNER`; adding a file adds the task.

A planner is SQL over what was selected, and the phrasings of its task. The SQL yields candidates, one row each:
  key                    unique text
  kind                   which templates serve it ('' for all of one kind)
  balance                samples are taken evenly over the values of this column
  split, holdout         where it belongs; the split of its target
  word_NAME              what `{NAME}` stands for
  slot_NAME              the asset (or with text_NAME the text) that `[NAME]` stands for
  derive_NAME            instead of slot_NAME, or before it where both are there and it is not null: a struct
                         (op, params, inputs) of a medium to be made
  marks                  the assets that stand where the texts have the character U+FFFC, in their order
  source_NAME            the asset that text_NAME was taken from; source_asset for all that have none of their own
  language               of the instruction, 'en' where left out
  shown                  how many demonstrations the slots themselves hold (slot_demo1_in, slot_demo1_out, ...)
  relation, family       for planners with demonstrations: what demonstrations share, and what they must not share
  meta_NAME              kept in the sample for evaluation and search
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from codi2_datasets.planning.templates import Template


@dataclass(frozen=True)
class Planner:
    """One task. `candidates(options)` gives SQL; `demos` names the options that bound the demonstrations."""

    task: str
    version: str
    templates: tuple[Template, ...]
    candidates: Callable[[dict[str, Any]], str]
    options: dict[str, Any] = field(default_factory=dict)
    demos: bool = False
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What an option that is a list of names may hold. With all of them the SQL has every column that templates name."""


@cache
def planners() -> dict[str, Planner]:
    """Every planner, by task."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    found = [module.PLANNER for module in modules]
    return {planner.task: planner for planner in sorted(found, key=lambda planner: planner.task)}
