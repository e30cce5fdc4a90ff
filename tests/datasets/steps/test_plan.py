"""The plan of a task is taken over from the build before as long as nothing that the task reads has changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codi2_datasets.planning.templates import Template
from codi2_datasets.recipe_schema import CorpusChoice, Mixture, Recipe, TaskChoice
from codi2_datasets.steps import plan as plan_step
from codi2_datasets.tasks import planners
from codi2_storage.build_cache import BuildCache
from codi2_storage.store import Store
from tests.datasets.tasks.image_world import WORLD, plan_tables

TASKS = {
    "text_to_image": TaskChoice(60, 0, 20, options={"languages": []}),
    "exemplar_learning": TaskChoice(60, 0, 20, options={"kinds": ["style"]}),
    "audio_editing": TaskChoice(20, 0, 5, options={"kinds": ["echo", "add"]}),
}
RECIPE = Recipe("test", 1, (CorpusChoice("c"),), TASKS)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds the plan of the world."""
    root = tmp_path_factory.mktemp("cache")
    plan_tables(WORLD, RECIPE, BuildCache(Store(root)))
    return root


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that are planned rather than taken over."""
    names: list[str] = []
    real = plan_step.plan_task

    def recorded(connection: Any, recipe: Recipe, planner: Any, choice: TaskChoice) -> Any:
        names.append(planner.task)
        return real(connection, recipe, planner, choice)

    monkeypatch.setattr(plan_step, "plan_task", recorded)
    return names


def with_row(of: Callable[[dict[str, Any]], bool], **values: Any) -> Rows:
    """The world with one row changed: the first of train for which `of` holds."""
    place = next(n for n, row in enumerate(WORLD) if row["split"] == "train" and of(row))
    return [*WORLD[:place], {**WORLD[place], **values}, *WORLD[place + 1 :]]


def a_dog(row: dict[str, Any]) -> bool:
    return bool(row["modality"] == "image" and row["concept"] == "dog")


def a_sound(row: dict[str, Any]) -> bool:
    return bool(row["modality"] == "audio")


IMAGE_TASKS, EVERY = ["exemplar_learning", "text_to_image"], sorted(TASKS)
CHANGES: dict[str, tuple[Rows, Recipe, list[str]]] = {
    "nothing": (WORLD, RECIPE, []),
    "the order of the rows": (WORLD[::-1], RECIPE, []),
    "an image": (with_row(a_dog, asset_id="another dog", near="another dog"), RECIPE, IMAGE_TASKS),
    "a caption of an image": (with_row(a_dog, caption="a hound"), RECIPE, ["text_to_image"]),
    "the size of an image": (with_row(a_dog, width=17), RECIPE, []),
    "the style of an image": (with_row(a_dog, style="crayon"), RECIPE, IMAGE_TASKS),
    "the split of an image": (with_row(a_dog, split="test", holdout="concept"), RECIPE, IMAGE_TASKS),
    "the near-duplicates of an image": (with_row(a_dog, near="a group"), RECIPE, IMAGE_TASKS),
    "a caption of a sound": (with_row(a_sound, caption="a bang"), RECIPE, ["audio_editing"]),
    "a licence that no row had": (with_row(a_sound, licence="CC-BY-SA-4.0"), RECIPE, EVERY),
    "a removed sound": ([row for row in WORLD if row["asset_id"] != "sound 3"], RECIPE, ["audio_editing"]),
    "the number of samples": (
        WORLD,
        replace(RECIPE, tasks={**TASKS, "text_to_image": TaskChoice(61, 0, 20, options={"languages": []})}),
        ["text_to_image"],
    ),
    "an option": (
        WORLD,
        replace(RECIPE, tasks={**TASKS, "exemplar_learning": TaskChoice(60, 0, 20, options={"kinds": ["tone"]})}),
        ["exemplar_learning"],
    ),
    "the seed": (WORLD, replace(RECIPE, seed=2), EVERY),
    "a weight": (WORLD, replace(RECIPE, mixture=Mixture(licences={"MIT": 2.0})), EVERY),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_tasks_that_read_what_changed_are_planned_and_the_plan_is_that_of_a_full_build(
    change: str, before: Path, tmp_path: Path, made: list[str]
) -> None:
    rows, recipe, concerned = CHANGES[change]
    root = tmp_path / "root"
    shutil.copytree(before, root)
    now = plan_tables(rows, recipe, BuildCache(Store(root)))
    assert sorted(made) == concerned
    assert now == plan_tables(rows, recipe)


def test_a_changed_template_plans_its_task_alone(
    before: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    shutil.copytree(before, root)
    planner = planners()["text_to_image"]
    said = Template("Paint {caption} as {style} does.", "[target]", kind="styled")
    changed = replace(planner, templates=(said, *planner.templates[1:]))
    monkeypatch.setattr(plan_step, "planners", lambda: {**planners(), "text_to_image": changed})
    now = plan_tables(WORLD, RECIPE, BuildCache(Store(root)))
    assert made == ["text_to_image"]
    assert now == plan_tables(WORLD, RECIPE)


def test_shares_of_a_total_are_counted_once(tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(RECIPE, mixture=Mixture(total=90, temperature=2.0))
    first = plan_tables(WORLD, recipe, BuildCache(Store(tmp_path)))
    made.clear()
    monkeypatch.setattr(plan_step, "make_candidates", None)  # not called
    assert plan_tables(WORLD, recipe, BuildCache(Store(tmp_path))) == first and not made
