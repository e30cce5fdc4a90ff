"""Recipes: which corpora, filters and tasks make up a dataset, and in what amounts.

Validated as a whole before any work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codi2_datasets.dedup.signals import NEEDS
from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.planning.demonstrations import STRATEGIES
from codi2_datasets.planning.licences import KNOWN
from codi2_datasets.planning.planner import Planner
from codi2_datasets.recipe_schema import CorpusChoice, Recipe, RecipeError
from codi2_storage.errors import nearest_hint
from codi2_storage.typed_data import read_yaml, typed


def load_recipe(path: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe from YAML, with settings such as image.size=32.

    Raises RecipeError for anything invalid; the message names the key.
    """
    file = find_recipe(path)
    try:
        data = read_yaml(file, settings)
    except ValueError as error:
        raise RecipeError(str(error)) from error
    try:
        recipe = typed(Recipe, data)
        check(recipe)
    except ValueError as error:
        raise RecipeError(f"{file}: {error}") from error
    return recipe


def recipe_of_spec(spec: str, where: str) -> Recipe:
    """The recipe in a build's row (`builds.spec`). Raises RecipeError if this code can no longer use it."""
    try:
        recipe = typed(Recipe, json.loads(spec))
        check(recipe)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error
    return recipe


def find_recipe(path: str | Path) -> Path:
    """The file, or the shipped recipe of that name. Raises RecipeError if there is neither."""
    shipped = Path(__file__).parent / "recipes"
    for candidate in (Path(path), shipped / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
    raise RecipeError(f"no recipe {path}: give a file, or one of the shipped ones: {names}")


def check(recipe: Recipe) -> None:
    """Checks beyond types: known corpora and tasks, valid shares and sizes. Raises ValueError."""
    from codi2_datasets.corpora import corpora
    from codi2_datasets.operators import operators
    from codi2_datasets.steps.dry_run import check_planner
    from codi2_datasets.tasks import check_task, planners

    for choice in recipe.corpora:
        check_corpus(choice)
    names = [choice.corpus for choice in recipe.corpora]
    check_choices(recipe, {*corpora(), *names}, set(operators()))
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"corpora: {', '.join(doubled)} named twice")
    for name, task in recipe.tasks.items():
        check_task(name)
        check_options(f"tasks.{name}.options", task.options, planners()[name])
        check_planner(planners()[name], task.options)
        if min(task.train, task.validation, task.test) < 0:
            raise ValueError(f"tasks.{name}: a number of samples is below zero")
    s = recipe.splits
    for share in asdict(s).items():
        if not 0 <= share[1] <= 0.5:
            raise ValueError(f"splits.{share[0]}: {share[1]} is not between 0 and 0.5")
    if not 8 <= recipe.image.size <= 1024:
        raise ValueError(f"image.size: {recipe.image.size} is not between 8 and 1024 pixels")
    if recipe.audio.sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"audio.sample_rate: {recipe.audio.sample_rate}, and the sample format knows {SAMPLE_RATE} Hz alone"
        )
    if recipe.shards.samples < 1:
        raise ValueError("shards.samples: at least 1")


def check_options(where: str, options: dict[str, Any], planner: Planner) -> None:
    """Check that the planner has these options, and the type and choices of their values. Raises ValueError."""
    for key, value in options.items():
        check_known(where, "key ", key, planner.options)
        typed(type(planner.options[key]), value, f"{where}.{key}")
        choices = STRATEGIES if key == "pairing" else planner.choices.get(key)
        if planner.options[key] and value == []:
            raise ValueError(f"{where}.{key}: no candidates can be made with none; known: {', '.join(choices or ())}")
        for one in value if isinstance(value, list) else [value]:
            if choices:
                check_known(f"{where}.{key}", "", one, choices)
    if planner.demos:
        least, most = ({**planner.options, **options}[key] for key in ("min_demos", "max_demos"))
        if not 0 <= least <= most:
            raise ValueError(f"{where}: min_demos {least} and max_demos {most}: need 0 <= min_demos <= max_demos")


def check_corpus(choice: CorpusChoice) -> None:
    """Check a choice: a known corpus with nothing but its name, or a connector with a path and known options."""
    from codi2_datasets.connectors import connectors
    from codi2_datasets.corpora import corpora

    if choice.name in corpora():
        if extra := next((key for key in ("label", "path", "media", "limit", "options") if getattr(choice, key)), None):
            raise ValueError(f"corpora: {choice.name} is fetched whole, and takes no {extra}")
        return
    check_known("corpora", "corpus ", choice.name, [*corpora(), *connectors()])
    if not (choice.path or choice.media):
        raise ValueError(f"corpora: {choice.name} needs a path: where its published files lie")
    if choice.limit < 0:
        raise ValueError(f"corpora: {choice.corpus}: limit is {choice.limit}; it must be 0 (no limit) or more")
    if choice.label in corpora():
        raise ValueError(f"corpora: {choice.corpus}: label is the name of a corpus; choose another")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", choice.corpus):
        raise ValueError(f"corpora: {choice.corpus}: label may hold letters, digits, '.', '_' and '-' only")
    for option in sorted(choice.options):
        check_known(
            f"corpora: {choice.corpus}", "option ", option, ["licence", "segment", *connectors()[choice.name].options]
        )


def check_known(where: str, what: str, name: Any, known: Iterable[str]) -> None:
    """Raises ValueError unless the name is one of the known ones; it names them and the nearest."""
    known = list(known)
    if name not in known:
        listed = ", ".join(known) or "none"
        raise ValueError(f"{where}: unknown {what}{name!r}; known: {listed}{nearest_hint(str(name), known)}")


def check_choices(recipe: Recipe, known_corpora: set[str], known_operators: set[str]) -> None:
    """Check the names in a recipe beside its corpora and tasks: signals, licences, mixture."""
    used = sorted(choice.corpus for choice in recipe.corpora)
    for n, signal in enumerate(recipe.signals):
        check_known(f"signals[{n}].op", "", signal.op, sorted(known_operators))
        for corpus in signal.corpora:
            check_known(f"signals[{n}].corpora", "", corpus, sorted(known_corpora))
    check_duplicates(recipe, {signal.op for signal in recipe.signals})
    for n, licence in enumerate(recipe.licences):
        if not licence.startswith("LicenseRef-"):
            check_known(f"licences[{n}]", "", licence, sorted(KNOWN))
    mixture = recipe.mixture
    for corpus in mixture.corpora:
        check_known("mixture.corpora", "", corpus, used)
    weights = {**mixture.corpora, **mixture.licences, **mixture.languages}
    weights |= {name: task.weight for name, task in recipe.tasks.items()}
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"mixture: the weight of {name!r} is below zero")
    temperatures = [mixture.temperature, *(task.temperature or 1.0 for task in recipe.tasks.values())]
    if min(temperatures) <= 0 or mixture.total < 0:
        raise ValueError("mixture: temperature above zero, total not below zero")


def check_duplicates(recipe: Recipe, measured: set[str]) -> None:
    """Check that the signals which each duplicate rule compares are measured."""
    for n, rule in enumerate(recipe.duplicates):
        if (rule.modality, rule.by) not in NEEDS:
            known = ", ".join(f"{modality} by {by}" for modality, by in NEEDS)
            raise ValueError(f"duplicates[{n}]: {rule.modality} by {rule.by} is not known; known: {known}")
        op = NEEDS[rule.modality, rule.by][0]
        if op not in measured:
            raise ValueError(
                f"duplicates[{n}]: {rule.modality} by {rule.by} needs the signal {op!r}: name it in signals"
            )
        if rule.threshold is not None and not (0 < rule.threshold <= 1 and rule.by != "perceptual"):
            raise ValueError(f"duplicates[{n}].threshold: from 0 to 1, and none for perceptual")
    for name, task in recipe.tasks.items():
        if task.options.get("pairing") == "nearest" and not measured & {"image_embedding", "audio_embedding"}:
            raise ValueError(
                f"tasks.{name}.options.pairing: nearest needs the signal image_embedding or audio_embedding"
            )
