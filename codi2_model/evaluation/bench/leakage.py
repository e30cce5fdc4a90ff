"""Evaluation never sees train media: checked before a single answer is made, and said aloud."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from codi2_model.evaluation.bench.rows import SUITE
from codi2_model.evaluation.data import EvaluationError, Leak, leaks
from codi2_storage.catalog.catalog import Catalog


def near_leaks(catalog: Catalog, build: str) -> list[Leak]:
    """As `leaks`, by group of near-duplicates instead of by asset; media whose group is unknown are left out."""
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
    """Metrics rows of the check, for these tasks. Raises EvaluationError where a test target is in train, unless allowed."""
    rows, bad = [], []
    for measure, found in (
        ("test_targets_in_train", leaks(catalog, build)),
        ("test_targets_like_train", near_leaks(catalog, build)),
    ):
        found = [leak for leak in found if leak.task in tasks]
        total, leaked = sum(leak.targets for leak in found), sum(leak.leaked for leak in found)
        print(f"leak check: {measure} {leaked} of {total:,} in {len(found)} tasks of {build}", file=sys.stderr)
        bad += [f"{leak.task} {leak.leaked} of {leak.targets}" for leak in found if leak.leaked]
        about = {"suite": SUITE, "split": "test", "metric": measure, "baseline": None, "low": None, "high": None}
        rows += [{**about, "task": leak.task, "value": float(leak.leaked), "n": leak.targets} for leak in found]
    if bad and not allow:
        raise EvaluationError(
            f"build {build} leaks: target media of its test split occur in train ({', '.join(dict.fromkeys(bad))}); figures on it "
            "would mean nothing"
        )
    return rows
