"""Rows of the tables `metrics` (means with intervals and paired gains, also by kind of hold-out) and `scores` (the model's)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codi2_model.evaluation.baselines import CHANCE
from codi2_model.evaluation.bench.measures import GAIN, direction
from codi2_model.evaluation.bench.scoring import MODEL, Tally, is_choice
from codi2_model.evaluation.statistics import Estimate, bootstrap_mean, paired_gain

RESAMPLES = 1000
NONE = "[demos=0]"  # suffix of the measures without demonstrations


def rows_of(tally: Tally, holdouts: Mapping[str, str], seed: int) -> list[dict[str, Any]]:
    """Ordered rows of a task.

    holdouts: question key -> kind of hold-out ('concept', 'combination'). If a task has several kinds, each also has its own
    rows, in a split such as 'test/concept'. Frechet distances have no interval: resampling with replacement creates
    duplicates, which raise the distance by more than the width of the interval.
    """
    kinds = sorted({kind for kind in holdouts.values() if kind})
    splits = {"test": set(holdouts)}
    if len(kinds) > 1:
        splits |= {f"test/{kind}": {key for key, value in holdouts.items() if value == kind} for kind in kinds}
    rows = []
    for split, keys in splits.items():
        rows += _split_rows(split, keys, tally, seed)
    rows += _ladder_gains(tally, seed)
    for (metric, (baseline, _)), (value, n) in tally.sets.items():
        rows.append(_row("test", metric, baseline, Estimate(value, 0.0, 0.0, n), interval=False))
    return sorted(rows, key=lambda row: (row["split"], row["metric"], row["baseline"] or ""))


def scores_of(tally: Tally) -> list[dict[str, Any]]:
    """Scores of the model; the mean of a measure's scores is its row of `metrics` in the split 'test'."""
    return [
        {"metric": metric, "sample_id": key.partition(":")[0], "value": score}
        for (metric, condition), scores in tally.single.items()
        if condition == MODEL
        for key, score in scores.items()
    ]


def _split_rows(split: str, keys: set[str], tally: Tally, seed: int) -> list[dict[str, Any]]:
    rows = []
    for (metric, condition), scores in tally.single.items():
        baseline, suffix = condition
        chosen = {key: score for key, score in scores.items() if key in keys}
        if not chosen or (suffix and split != "test"):
            continue
        exact = baseline == CHANCE and is_choice(metric)
        estimate = bootstrap_mean(list(chosen.values()), seed, RESAMPLES)
        rows.append(_row(split, metric, baseline, estimate, interval=not exact))
        own = tally.single.get((metric, MODEL), {})
        common = [key for key in chosen if key in own]
        if baseline is not None and common:
            sign = direction(metric)
            gain = paired_gain(
                [sign * own[key] for key in common], [sign * chosen[key] for key in common], seed, RESAMPLES
            )
            rows.append(_row(split, metric + GAIN, baseline, gain))
    return rows


def _ladder_gains(tally: Tally, seed: int) -> list[dict[str, Any]]:
    """Paired gains of each number of demonstrations over none: METRIC[demos=4].gain with the baseline `demos_removed`."""
    rows = []
    for (metric, condition), scores in tally.single.items():
        suffix = condition[1]
        none = suffix and tally.single.get((metric.removesuffix(suffix) + NONE, (None, NONE)))
        if not none or suffix == NONE:
            continue
        sign = direction(metric)
        pairs = [sign * scores[key] for key in scores], [sign * none[key] for key in scores]
        rows.append(_row("test", metric + GAIN, "demos_removed", paired_gain(*pairs, seed=seed, resamples=RESAMPLES)))
    return rows


def _row(split: str, metric: str, baseline: str | None, estimate: Estimate, interval: bool = True) -> dict[str, Any]:
    row = {"split": split, "metric": metric, "baseline": baseline, "n": estimate.n}
    low, high = (estimate.low, estimate.high) if interval else (None, None)
    return {**row, "value": estimate.value, "low": low, "high": high}
