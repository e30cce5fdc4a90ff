"""Figures as tables: the model beside its baselines, and the main measure of each task."""

from __future__ import annotations

from typing import Any

from codi2_model.evaluation.report.figures import beside_baselines, main_rows


def row(task: str, metric: str, value: float, baseline: str | None = None, low: float | None = None) -> dict[str, Any]:
    high = None if low is None else 0.75
    return {
        "task": task,
        "metric": metric,
        "split": "test",
        "value": value,
        "low": low,
        "high": high,
        "n": 4,
        "baseline": baseline,
    }


def test_the_model_stands_beside_its_baselines() -> None:
    columns, cells = beside_baselines([row("t", "m", 0.5, low=0.25), row("t", "m", 0.1, "chance"), row("a", "m", 1.0)])
    assert columns == ["task", "metric", "n", "model (95 %)", "chance"]
    assert cells == [["a", "m", "4", "1.000", ""], ["t", "m", "4", "0.500 (0.250 to 0.750)", "0.100"]]


def test_the_main_measure_is_the_first_that_a_task_has() -> None:
    edit, chance = row("edit", "edit@1", 0.2), row("edit", "edit@1", 0.125, "chance")
    joint = row("joint", "image:concept@1", 0.3)
    rows = [
        joint,
        row("edit", "concept@1", 0.4),
        edit,
        chance,
        row("edit", "similarity", 0.9),
        row("edit", "edit@1.gain", 0.1, "chance"),
    ]
    assert main_rows([*rows, {**edit, "split": "test/concept"}]) == [edit, chance, joint]
