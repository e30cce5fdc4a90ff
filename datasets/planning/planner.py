"""The interface of a task planner.

A planner is SQL over the selected assets, and the phrasings of its task. The SQL yields candidates, one row each:
  key                    unique string
  kind                   the templates it is for ('' if all are of one kind)
  balance                samples are distributed evenly over the values of this column
  split, holdout         of the sample; the split of its target
  word_NAME              the value of `{NAME}`
  slot_NAME              the asset (or with text_NAME the text) for `[NAME]`
  derive_NAME            instead of slot_NAME, or with priority over it where not null: a struct
                         (op, params, inputs) of a medium to be made
  marks                  the assets that replace the character U+FFFC in the texts, in order
  source_NAME            the asset that text_NAME was taken from; source_asset for all texts without one
  language               of the instruction, 'en' by default
  shown                  number of demonstrations in the slots themselves (slot_demo1_in, slot_demo1_out, ...)
  relation, family       for planners with demonstrations: what demonstrations share, and what they must not share
  meta_NAME              kept in the sample for evaluation and search
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.planning.templates import Template


@dataclass(frozen=True)
class Planner:
    """One task. `candidates(options)` returns SQL; `demos` names the options that bound the demonstrations."""

    task: str
    version: str
    templates: tuple[Template, ...]
    candidates: Callable[[dict[str, Any]], str]
    options: dict[str, Any] = field(default_factory=dict)
    demos: bool = False
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Allowed values of options that are lists of names. With all of them the SQL has every column that templates name.
    """
