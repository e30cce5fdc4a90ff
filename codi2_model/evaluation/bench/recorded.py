"""Recorded runs of the benchmark: what the report shows and the promotion gate compares."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codi2_model.evaluation.bench.profiles import PROFILES
from codi2_storage.catalog.catalog import Catalog

VERSION = 2  # increase it when the same checkpoint and build would get other results


@dataclass(frozen=True)
class Run:
    """A recorded run of a task. rows: its rows of `metrics`."""

    task: str
    run_id: str
    config: Mapping[str, Any]
    rows: list[dict[str, Any]]


def recorded_runs(catalog: Catalog, checkpoint_id: str, build_id: str, seed: int | None = None) -> list[Run]:
    """The run with the most samples of each task, then the most conditions, the lowest seed and id; ordered by task."""
    evaluations = catalog.sql(
        "select run_id, config from runs where kind = 'evaluation' and build_id = ? order by run_id", [build_id]
    ).to_pylist()
    best: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    for row in evaluations:
        config = json.loads(row["config"] or "{}")
        same = (config.get("version"), config.get("checkpoint")) == (VERSION, checkpoint_id)
        if config.get("suite") in PROFILES and same and seed in (None, config["seed"]):
            conditions = PROFILES[config["suite"]].demonstrations
            entry = (-config["limit"], not conditions, config["seed"], row["run_id"]), config
            best[config["task"]] = min(best.get(config["task"], entry), entry, key=lambda ranked: ranked[0])
    rows = metrics_of(catalog, [rank[-1] for rank, _ in best.values()])
    return [Run(task, rank[-1], config, rows[rank[-1]]) for task, (rank, config) in sorted(best.items())]


def metrics_of(catalog: Catalog, run_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """run id -> its rows of `metrics`, in the order in which they were written."""
    rows = catalog.sql("select * from metrics where list_contains(?, run_id)", [run_ids]).to_pylist()
    by_run: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_run[row["run_id"]].append(row)
    return by_run
