"""Paths in recipes as the catalog stores them: those inside the root are stored relative to it, others unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from codi2_datasets.recipe_schema import PLACES, CorpusChoice, Recipe
from codi2_storage.coordination.run_parameters import portable_path, present_path
from codi2_storage.store import Store

Change = Callable[[str], str]


def portable_recipe(store: Store, recipe: Recipe) -> Recipe:
    """The recipe in the form stored in a row of `builds`."""
    return with_paths(recipe, partial(portable_path, store))


def present_recipe(store: Store, recipe: Recipe) -> Recipe:
    """The recipe of a row of `builds`, with its paths as they can be opened now."""
    return with_paths(recipe, partial(present_path, store))


def with_paths(recipe: Recipe, change: Change) -> Recipe:
    """The recipe with `change` applied to every path in it."""
    sets = tuple(replace(one, folder=each(one.folder, change)) for one in recipe.decontaminate)
    return replace(recipe, corpora=tuple(moved(one, change) for one in recipe.corpora), decontaminate=sets)


def moved(choice: CorpusChoice, change: Change) -> CorpusChoice:
    options: dict[str, Any] = {
        name: each(value, change) if name in PLACES and isinstance(value, str) else value
        for name, value in choice.options.items()
    }
    return replace(choice, path=each(choice.path, change), media=each(choice.media, change), options=options)


def each(paths: str, change: Change) -> str:
    """Apply `change` to paths separated by semicolons. A path with an environment variable is left unchanged."""
    return ";".join(change(path) if path and "$" not in path else path for path in paths.split(";"))
