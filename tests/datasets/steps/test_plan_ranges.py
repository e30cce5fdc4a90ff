"""A task planned in ranges: the same tables for any number of ranges, and only missing ranges are planned again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from codi2_datasets.recipe_schema import CorpusChoice, Recipe, TaskChoice
from codi2_datasets.steps import plan_ranges
from codi2_datasets.steps.plan_ranges import RangeWork, merged
from codi2_datasets.steps.plan_task import OF_TASK
from codi2_storage.build_cache import BuildCache
from codi2_storage.store import Store
from tests.datasets.tasks.image_world import WORLD, plan_tables

TASKS = {
    task: TaskChoice(60, 0, 20, options=options)
    for task, options in (
        ("text_to_image", {"languages": []}),
        ("exemplar_learning", {"kinds": ["style"]}),
        ("audio_editing", {"kinds": ["echo", "add"]}),
    )
}
RECIPE = Recipe("test", 1, (CorpusChoice("c"),), TASKS)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The ranges that are planned: task and number. In this process, one after the other."""
    names: list[tuple[str, int]] = []

    def one_by_one(function: Any, works: Iterable[RangeWork], workers: int, few: int) -> Iterable[tuple[Any, Any]]:
        for work in works:
            names.append((work.task, work.number))
            yield work, function(work)

    monkeypatch.setattr(plan_ranges, "ray_map", one_by_one)
    return names


@pytest.mark.parametrize("per_range", [30, 10])
def test_the_tables_do_not_depend_on_the_number_of_ranges(
    per_range: int, ran: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan_tables(WORLD, RECIPE)
    assert not ran and len(whole["planned_samples"]) > 150
    monkeypatch.setattr(plan_ranges, "SAMPLES_PER_RANGE", per_range)
    assert plan_tables(WORLD, RECIPE) == whole
    assert sorted(ran) == [(task, number) for task in sorted(TASKS) for number in range(-(-80 // per_range))]


def test_ranges_run_on_ray_and_an_interrupted_plan_goes_on_with_the_missing_ones(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, store = plan_tables(WORLD, RECIPE), Store(tmp_path)
    monkeypatch.setattr(plan_ranges, "SAMPLES_PER_RANGE", 40)
    assert plan_tables(WORLD, RECIPE, BuildCache(store)) == whole
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    assert len(files) == len(TASKS) * 2 * len(OF_TASK)  # the shared tables are gone
    for file in files:
        if "samples" in file.name:
            file.unlink()
            break
    again: list[int] = []
    real = plan_ranges.plan_range

    def counted(work: RangeWork) -> None:
        again.append(work.number)
        real(work)

    monkeypatch.setattr(plan_ranges, "ray_map", lambda _, works, *args, **more: [(w, counted(w)) for w in works])
    assert plan_tables(WORLD, RECIPE, BuildCache(store)) == whole and len(again) == 1


def test_of_the_same_sample_in_two_ranges_one_stays(tmp_path: Path) -> None:
    works = [RangeWork(Store(tmp_path), "k", RECIPE, "text_to_image", TASKS["text_to_image"], n, 2) for n in (0, 1)]
    tables = {
        "samples": ["('b', 's1', 'second'), ('c', 's2', 'other')", "('a', 's1', 'first')"],
        "parts": ["('s1', 0, 'text'), ('s2', 0, 'more')", "('s1', 0, 'text')"],
        "derived": ["('d1', 'echo')", "('d1', 'echo'), ('d2', 'add')"],
        "rejected": ["('x', 'incompatible licences')", "('y', 'too few demonstrations')"],
    }
    names = {
        "samples": "key, sample_id, template", "parts": "sample_id, position, text", "derived": "asset_id, op",
        "rejected": "subject, reason",
    }  # fmt: skip
    connection = duckdb.connect()
    for work in works:
        for name, file in zip(OF_TASK, work.files, strict=True):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            values = f"from (values {tables[name][work.number]}) t({names[name]})"
            connection.execute(f"copy ({values}) to '{tmp_path / file}' (format parquet)")
    rows = {name: sorted(connection.execute(query).fetchall()) for name, query in merged(connection, works).items()}
    assert rows["samples"] == [("a", "s1", "first"), ("c", "s2", "other")]
    assert rows["parts"] == [("s1", 0, "text"), ("s2", 0, "more")]
    assert rows["derived"] == [("d1", "echo"), ("d2", "add")]
    assert ("s1", "the same sample as another") in rows["rejected"] and len(rows["rejected"]) == 3
