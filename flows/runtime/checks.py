"""What is checked before a command starts anything: without Prefect, Ray or torch, so that a mistake is named within a second or two."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from codi2_datasets.pretrained.packages import JUDGES, require
from codi2_datasets.recipe import Recipe, load_recipe
from codi2_model.checkpoints.registry import UsageError, promoted
from codi2_model.evaluation.gate import Gate
from codi2_model.training.config import TrainConfig
from codi2_model.training.packages import packages_of
from codi2_model.training.pipeline_stage import check_tasks, resolve_start
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

SUITES = ("short", "open")


def check_pipeline(recipe: Recipe, config: TrainConfig) -> None:
    """Raise before any work where the whole line, dataset to evaluation, lacks a package, or the training its samples."""
    from codi2_datasets.build import packages_of as packages_of_recipe  # imports every operator

    require("this pipeline", {*packages_of_recipe(recipe), *packages_of(config), *JUDGES})
    check_tasks(config, recipe.tasks, f"recipe {recipe.name}")


def check_evaluation(
    root: str, build: str | None, suite: str, tasks: list[str] | None, data: str | None, weights: str | None
) -> None:
    """Raise for what cannot be evaluated, before anything heavy is imported. Raises EvaluationUsage."""
    if suite not in SUITES and suite not in published_suites():
        raise EvaluationUsage(f"--suite {suite}: no such suite; known: {', '.join((*SUITES, *published_suites()))}")
    require(f"suite {suite}", JUDGES if suite in SUITES else ())
    if suite not in SUITES:
        about = {"--data": ("its data", data), "--weights": ("its judges' weights", weights)}
        if lacking := [
            f"{option} (a folder with {what})" for option, (what, folder) in about.items() if folder is None
        ]:
            raise EvaluationUsage(f"suite {suite} needs {' and '.join(lacking)}")
        for option, (_, folder) in about.items():
            if folder is not None and not Path(folder).is_dir():
                raise EvaluationUsage(f"{option} {folder}: no folder there")
        return
    catalog = Catalog(root)
    if (build_id := catalog.named(build)) is None:
        raise EvaluationUsage(f"nothing to evaluate on: no published build under {root}; run `codi2 build demo` first")
    rows = catalog.sql("select distinct task from samples where split = 'test' order by 1", build=build_id).to_pylist()
    known = [row["task"] for row in rows]
    if unknown := [task for task in tasks or () if task not in known]:
        raise EvaluationUsage(
            f"--task {unknown[0]}: build {build_id} holds no test samples of it, but of {', '.join(known)}"
        )


def published_suites() -> list[str]:
    """Names of the suites that others published, read off their files: importing them takes seconds."""
    spec = find_spec("codi2_model")
    assert spec is not None and spec.submodule_search_locations is not None
    folders = [Path(base) / "evaluation" / "suites" for base in spec.submodule_search_locations]
    files = [file for folder in folders for file in folder.glob("*.py")]
    return sorted(file.stem for file in files if "\nSUITE = " in file.read_text(encoding="utf-8"))


class EvaluationUsage(ValueError):
    """An option of an evaluation that does not hold; the message names it."""


def ready(root: str, recipe: str, config: str, start: str, gate: Gate) -> None:
    """Raise before any work where something asked for cannot be: a metric without its task, weights that do not fit."""
    store = Store(root)
    chosen, parsed = load_recipe(recipe), TrainConfig.from_yaml(config)
    gate.check(chosen.tasks)
    check_pipeline(chosen, parsed)
    resolve_start(store, start, parsed)
    champion = promoted(store)
    if champion and not Store(champion["uri"]).exists("config.json"):
        what = f"{champion['checkpoint_id']}, the model in place, is not at {champion['uri']} any more"
        raise UsageError(f"{what}: nothing to compare with; `codi2 rollback` puts another in place")
