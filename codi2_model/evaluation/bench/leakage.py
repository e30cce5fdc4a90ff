"""Leak check: test targets must not occur in train samples; run before any generation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codi2_model.evaluation.data import EvaluationError
from codi2_storage.catalog.catalog import Catalog

MEASURES = {"test_targets_in_train": "asset_id", "test_targets_like_train": "near"}
"""Name in `metrics` -> how media are compared: by asset, or by group of near-duplicates (media without one are ignored)."""


@dataclass(frozen=True)
class Leak:
    """`targets`: distinct target media of the test samples of a task; `leaked`: those that occur in any train sample."""

    task: str
    leaked: int
    targets: int


def leaks(catalog: Catalog, build: str | None, by: str = "asset_id") -> list[Leak]:
    """Leaks per task with media targets, ordered by task. Expected are zeros. `by`: asset_id or near."""
    rows = catalog.sql(
        f"""with turns as (select sample_id, max(turn) as last from parts group by sample_id),
                groups as (select asset_id, any_value(near) as near from assets group by 1),
                media as (select s.task, s.split, {by} as medium, p.turn = t.last as last from parts p
                          join samples s using (sample_id) join turns t using (sample_id)
                          left join groups using (asset_id) where p.modality <> 'text' and {by} is not null),
                train as (select distinct medium from media where split = 'train'),
                targets as (select distinct task, medium from media where split = 'test' and last)
           select targets.task, count(train.medium) as leaked, count(*) as targets
           from targets left join train using (medium) group by 1 order by 1""",
        build=build,
    )
    return [Leak(**row) for row in rows.to_pylist()]


def check(catalog: Catalog, build: str, tasks: Sequence[str], allow: bool = False) -> list[dict[str, Any]]:
    """Rows of `metrics` of the check for some tasks. Raises EvaluationError for a leak, unless `allow`."""
    rows, leaking = [], []
    for measure, by in MEASURES.items():
        task_leaks = [leak for leak in leaks(catalog, build, by) if leak.task in tasks]
        total, leaked = sum(leak.targets for leak in task_leaks), sum(leak.leaked for leak in task_leaks)
        print(f"leak check: {measure} {leaked} of {total:,} in {len(task_leaks)} tasks of {build}", file=sys.stderr)
        leaking += [f"{leak.task} {leak.leaked} of {leak.targets}" for leak in task_leaks if leak.leaked]
        common = {"split": "test", "metric": measure, "baseline": None, "low": None, "high": None}
        rows += [{**common, "task": leak.task, "value": float(leak.leaked), "n": leak.targets} for leak in task_leaks]
    if leaking and not allow:
        raise EvaluationError(
            f"build {build} leaks: target media of its test split occur in train ({', '.join(dict.fromkeys(leaking))}); "
            "rebuild it without the leak"
        )
    return rows
