"""Checks before a command starts any work. They import neither Prefect nor Ray nor torch, so errors appear in seconds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from codi2_datasets.pretrained.packages import JUDGES, require
from codi2_datasets.recipe import load_recipe
from codi2_datasets.recipe_schema import Recipe
from codi2_model.checkpoints.registry import promoted
from codi2_model.evaluation.bench.profiles import PROFILES
from codi2_model.evaluation.gate import Gate
from codi2_model.training.config import TrainConfig
from codi2_model.training.packages import packages_of
from codi2_model.training.pipeline_stage import check_tasks, resolve_start
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


def check_pipeline(recipe: Recipe, config: TrainConfig) -> None:
    """Raise if the pipeline lacks a package, or if the recipe has no samples for a task of the training config."""
    from codi2_datasets.build import packages_of as packages_of_recipe  # imports every operator

    require("this pipeline", {*packages_of_recipe(recipe), *packages_of(config), *JUDGES})
    check_tasks(config, recipe.tasks, f"recipe {recipe.name}")


def check_evaluation(
    root: str, build: str | None, suite: str, tasks: list[str] | None, data: str | None, weights: str | None
) -> None:
    """Check the options of an evaluation. Raises UsageError."""
    if suite not in PROFILES and suite not in published_suites():
        raise UsageError(f"--suite {suite}: no such suite; known: {', '.join((*PROFILES, *published_suites()))}")
    require(f"suite {suite}", JUDGES if suite in PROFILES else ())
    if suite not in PROFILES:
        folders = {"--data": ("its data", data), "--weights": ("its judges' weights", weights)}
        if missing := [
            f"{option} (a folder with {content})" for option, (content, folder) in folders.items() if folder is None
        ]:
            raise UsageError(f"suite {suite} needs {' and '.join(missing)}")
        for option, (_, folder) in folders.items():
            if folder is not None and not Path(folder).is_dir():
                raise UsageError(f"{option} {folder}: no such folder")
        return
    catalog = Catalog(root)
    if (build_id := catalog.named(build)) is None:
        raise UsageError(f"--root {root}: no published build to evaluate on; run `codi2 build demo` first")
    rows = catalog.sql("select distinct task from samples where split = 'test' order by 1", build=build_id).to_pylist()
    known = [row["task"] for row in rows]
    if unknown := [task for task in tasks or () if task not in known]:
        raise UsageError(f"--task {unknown[0]}: build {build_id} has no test samples of it; it has: {', '.join(known)}")


def published_suites() -> list[str]:
    """The published suites. They are read from the source files, because importing those takes seconds."""
    spec = find_spec("codi2_model")
    assert spec is not None and spec.submodule_search_locations is not None
    folders = [Path(base) / "evaluation" / "suites" for base in spec.submodule_search_locations]
    files = [file for folder in folders for file in folder.glob("*.py")]
    return sorted(file.stem for file in files if "\nSUITE = " in file.read_text(encoding="utf-8"))


def check_retrain(root: str, recipe: str, config: str, start: str, gate: Gate) -> None:
    """Check recipe, config, start weights, metrics and champion of a retraining.

    Raises for example if no task of the recipe has a metric of the gate, or if the start weights do not fit the config.
    """
    store = Store(root)
    parsed_recipe, parsed_config = load_recipe(recipe), TrainConfig.from_yaml(config)
    gate.check(parsed_recipe.tasks)
    check_pipeline(parsed_recipe, parsed_config)
    resolve_start(store, start, parsed_config)
    champion = promoted(store)
    if champion and not Store(champion["uri"]).exists("config.json"):
        raise UsageError(
            f"--root {root}: the files of the promoted model {champion['checkpoint_id']} are missing at {champion['uri']}, "
            "so the new model cannot be compared with it; promote another with `codi2 rollback`"
        )
