"""The interface of a task planner: SQL that yields candidates, the columns that they have, and the phrasings of the task.

Every candidate has the columns of `BASE`, and with demonstrations those of `PAIRED`:
  key                    unique string
  kind                   the templates it is for ('' if all are of one kind)
  balance                samples are distributed evenly over the values of this column
  split, holdout         of the sample; the split of its target
  relation, family       what demonstrations share, and what they must not share
The others are declared: `Columns`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.planning.templates import Template, TemplateError, check_names, nearest, pieces

BASE = ("key", "kind", "balance", "split", "holdout")
PAIRED = ("relation", "family")
SIDES = {"in": "query", "out": "target"}  # sides of a demonstration, and the slots of its candidate used there
PREFIXES = {
    "words": "word_", "media": "slot_", "derived": "derive_", "texts": "text_", "sources": "source_", "meta": "meta_",
    "others": "",
}  # fmt: skip
TYPES = {
    **dict.fromkeys(("slot_", "text_", "source_"), "VARCHAR"),
    "derive_": "STRUCT(op VARCHAR, params VARCHAR, inputs VARCHAR[])",
}  # of the columns with these prefixes


class ColumnError(ValueError):
    """A planner's SQL does not yield what the planner declares. The message names the task and the column."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns of a planner's candidates, by what they are for; names without their prefix."""

    words: tuple[str, ...] = ()
    """word_NAME: the value of `{NAME}`."""
    media: tuple[str, ...] = ()
    """slot_NAME: the asset for `[NAME]`."""
    derived: tuple[str, ...] = ()
    """derive_NAME: a struct (op, params, inputs) of the medium to be made for `[NAME]`; null: the asset in slot_NAME."""
    texts: tuple[str, ...] = ()
    """text_NAME: the text for `[NAME]`."""
    sources: tuple[str, ...] = ()
    """source_NAME: the asset that text_NAME was taken from; source_asset for all texts without one."""
    meta: tuple[str, ...] = ("concept", "family")
    """meta_NAME: kept in the sample for evaluation and search."""
    others: tuple[str, ...] = ()
    """marks: the assets that replace the character U+FFFC in the texts, in order; language: of the instruction, 'en'
    by default; shown: number of demonstrations in the slots themselves (slot_demo1_in, slot_demo1_out, ...)."""

    @classmethod
    def of(cls, names: Iterable[str]) -> Columns:
        """The columns of a query, in its order."""
        found: dict[str, list[str]] = {purpose: [] for purpose in PREFIXES}
        for name in names:
            purpose, prefix = next(item for item in PREFIXES.items() if name.startswith(item[1]))
            found[purpose].append(name.removeprefix(prefix))
        return cls(**{purpose: tuple(listed) for purpose, listed in found.items()})

    @property
    def names(self) -> list[str]:
        return [f"{prefix}{name}" for purpose, prefix in PREFIXES.items() for name in getattr(self, purpose)]

    @property
    def slots(self) -> list[str]:
        return list(dict.fromkeys((*self.media, *self.derived, *self.texts)))


@dataclass(frozen=True)
class Planner:
    """One task. `demos`: the options min_demos and max_demos bound the demonstrations.

    Raises TemplateError for a template that names no declared column.
    """

    task: str
    version: str
    templates: tuple[Template, ...]
    candidates: Mapping[str, str]
    """SQL of candidates by name: all of them, or with an option `kinds` those that it names."""
    columns: Columns
    tables: str = ""
    """Common table expressions of the SQL."""
    options: dict[str, Any] = field(default_factory=dict)
    demos: bool = False
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Allowed values of options that are lists of names; of `kinds`, the names of `candidates`."""
    opt_in: tuple[str, ...] = ()
    """Kinds of which only a build that selects them depends. The kinds of their templates begin with the name."""

    def __post_init__(self) -> None:
        if "kinds" in self.options:
            object.__setattr__(self, "choices", {**self.choices, "kinds": tuple(self.candidates)})
        self.check_templates(self.columns, {template.kind for template in self.templates})

    def sql(self, options: Mapping[str, Any]) -> str:
        """SQL of the candidates. Options that it names (`$languages`) are to be bound to it."""
        united = " union all by name ".join(self.candidates[kind] for kind in options.get("kinds", self.candidates))
        return f"with {self.tables} {united}" if self.tables else united

    def templates_of(self, options: Mapping[str, Any]) -> list[Template]:
        """The templates on which a build with these options depends: those of `opt_in` only if they are selected."""
        absent = set(self.opt_in) - set(options.get("kinds", ()))
        return [template for template in self.templates if template.kind.partition(" ")[0] not in absent]

    def phrasings_of(self, options: Mapping[str, Any]) -> list[list[str]]:
        """The same as plain data, for hashes: kind and turns of each."""
        return [[template.kind, *template.turns] for template in self.templates_of(options)]

    def check_templates(self, columns: Columns, kinds: Collection[str]) -> None:
        """Check that every mark of the templates of these kinds names a column. Raises TemplateError."""
        shown = [f"demo1_{side}" for side, slot in SIDES.items() if self.demos and slot in columns.slots]
        for template in (template for template in self.templates if template.kind in kinds):
            where = f"task {self.task}: template {' / '.join(template.turns)[:100]!r}"
            if template.shows_demos and not self.demos:
                raise TemplateError(f"{where}: <demo> in a task without demonstrations")
            parts = [(piece.text, piece.slot) for piece in pieces(template, 1)]
            check_names(parts, columns.words, [*columns.slots, *shown], where)

    def check_query(self, types: Mapping[str, str], every: bool = False) -> Columns:
        """The columns of its SQL, from their types. With `every`, all that are declared must be there.

        Raises ColumnError for one that is missing, not declared, or of the wrong type.
        """
        always = (*BASE, *PAIRED) if self.demos else BASE
        declared = [*always, *self.columns.names]
        for name in declared if every else always:
            if name not in types:
                raise ColumnError(f"task {self.task}: its SQL yields no column {name}{nearest(name, types)}")
        for name, found in types.items():
            if name not in declared:
                raise ColumnError(f"task {self.task}: it declares no column {name}{nearest(name, declared)}")
            wanted = next((kind for prefix, kind in TYPES.items() if name.startswith(prefix)), found)
            if every and found != wanted:
                raise ColumnError(f"task {self.task}: column {name} of its SQL is {found} and must be {wanted}")
        return Columns.of(name for name in types if name not in always)
