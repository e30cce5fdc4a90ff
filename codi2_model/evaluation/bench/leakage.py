"""Leak check: test targets must not occur in train samples; run before any generation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from codi2_model.evaluation.data import EvaluationError, Leak, leaks
from codi2_storage.catalog.catalog import Catalog


def near_leaks(catalog: Catalog, build: str) -> list[Leak]:
    """As `leaks`, by group of near-duplicates instead of asset; media without a group are ignored."""
    rows = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id),
                groups as (select asset_id, any_value(near) as near from assets where near is not null group by 1),
                media as (select s.task, s.split, g.near, p.turn = t.last as last from parts p
                          join samples s using (sample_id) join turns t using (sample_id)
                          join groups g on g.asset_id = p.asset_id where p.modality <> 'text'),
                train as (select distinct near from media where split = 'train'),
                targets as (select distinct task, near from media where split = 'test' and last)
           select targets.task, count(train.near) as leaked, count(*) as targets
           from targets left join train using (near) group by 1 order by 1""",
        build=build,
    )
    return [Leak(**row) for row in rows.to_pylist()]


def check(catalog: Catalog, build: str, tasks: Sequence[str], allow: bool = False) -> list[dict[str, Any]]:
    """Rows of `metrics` of the check for some tasks. Raises EvaluationError for a leak, unless `allow`."""
    rows, leaking = [], []
    for measure, all_leaks in (
        ("test_targets_in_train", leaks(catalog, build)),
        ("test_targets_like_train", near_leaks(catalog, build)),
    ):
        task_leaks = [leak for leak in all_leaks if leak.task in tasks]
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
