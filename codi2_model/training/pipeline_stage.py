"""Training as a stage of the pipeline: shards from the catalog in, a recorded checkpoint out."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import (
    TrainedRun,
    UsageError,
    finished,
    local_copy,
    promoted,
    record,
    resolve,
    run_folder,
)
from codi2_model.training.config import STAGES, TrainConfig
from codi2_model.training.metrics.journal import Row, losses_text, read_rows
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.coordination.leases import lease, still_ours
from codi2_storage.host.folders import cache_home
from codi2_storage.store import Store

log = logging.getLogger("codi2.train")
SCRATCH, CHAMPION = "scratch", "champion"


@dataclass(frozen=True)
class TrainRequest:
    """What to train: a config (file or shipped name) on a build of the root (the latest if None)."""

    config: str
    root: str
    build: str | None = None
    workers: int = 1
    start: str = SCRATCH
    """What it begins with: scratch, champion (the promoted model) or a checkpoint's id, folder or URI."""


@dataclass(frozen=True)
class Start:
    """Weights that a run begins with."""

    checkpoint_id: str
    folder: Path


def train_and_record(request: TrainRequest) -> str:
    """Train under Ray Train and put the result into the catalog; an equal run that finished is not repeated.

    Returns the checkpoint's URI. A run that was stopped goes on from its last checkpoint.
    """
    config = TrainConfig.from_yaml(request.config)
    if request.workers < 1:
        raise UsageError(f"--workers {request.workers}: at least 1")
    store = Store(request.root)
    catalog = Catalog(store)
    build_id = build_to_train(catalog, request.build)
    check_tasks(config, train_tasks(catalog, build_id), f"build {build_id}")
    start_from = start_of(store, request.start, config)
    identity = run_id(config, build_id, start_from.checkpoint_id if start_from else None)
    if known := finished(store, identity):
        return str(known["uri"])
    about = f"a training on {build_id}"
    with (
        lease(store, identity, about=about),
        alone_in_cache(store, identity, about),
    ):  # of equal ones at once, one trains
        if known := finished(store, identity):
            return str(known["uri"])
        return trained(request, config, catalog, build_id, start_from)


@contextmanager
def alone_in_cache(store: Store, identity: str, about: str) -> Iterator[None]:
    """Trainings of remote roots work in a folder of the cache, which equal ones of several roots share."""
    if store.is_local:
        yield
        return
    with lease(Store(cache_home()), identity, about=about):
        yield


def check_tasks(config: TrainConfig, tasks: Collection[str], where: str) -> None:
    """Raises UsageError where a stage has none of its tasks among those that the dataset has train samples of."""
    for name in STAGES:
        stage = config.stage(name)
        if stage.steps and not set(stage.tasks) & set(tasks):
            wanted, there = ", ".join(sorted(stage.tasks)), ", ".join(sorted(tasks)) or "no task"
            raise UsageError(f"stage {name} of the config trains on {wanted}; {where} has train samples of {there}")


def train_tasks(catalog: Catalog, build_id: str) -> list[str]:
    query = "select distinct task from samples where split = 'train' order by 1"
    return [row["task"] for row in catalog.sql(query, build=build_id).to_pylist()]


def build_to_train(catalog: Catalog, build: str | None) -> str:
    """The id of the build that is named (the latest if None). Raises UsageError where nothing is published."""
    if (found := catalog.named(build)) is None:
        where = catalog.store.root
        raise UsageError(
            f"nothing to train on: no published build under {where}; run `codi2 build demo --root {where}` first"
        )
    return found


def trained(request: TrainRequest, config: TrainConfig, catalog: Catalog, build_id: str, begin: Start | None) -> str:
    """Train and record. Returns the checkpoint's URI."""
    from codi2_model.training.ray_train import train_distributed

    store = catalog.store
    start_id, start_folder = (begin.checkpoint_id, begin.folder) if begin else (None, None)
    identity = run_id(config, build_id, start_id)
    folder = run_folder(store, identity)
    start = time.monotonic()
    shards = local_shards(catalog, build_id)
    teller = Teller(config)
    checkpoint = train_distributed(config, shards, folder, request.workers, on_metrics=teller, start=start_folder)
    rows = read_rows(folder / "metrics.jsonl")
    seconds = round(time.monotonic() - start, 1)
    run = TrainedRun(
        identity, build_id, config.to_dict(), config.mllm.steps, seconds, config.seed, request.workers, start_id
    )
    still_ours(store, identity)
    record(store, run, checkpoint, last_metrics(rows))
    known = finished(store, identity)
    return str(known["uri"]) if known else str(checkpoint)


class Teller:
    """Says how far a run is, a line every few seconds: workers' own lines stay in their logs."""

    def __init__(self, config: TrainConfig, every: float = 10.0) -> None:
        self.config, self.every, self.said = config, every, 0.0
        self.began: dict[str, tuple[float, int]] = {}  # stage -> when its first row came, and the row's step

    def __call__(self, row: Row) -> None:
        self.log(row)
        now = time.monotonic()
        steps = self.config.stage(row["stage"]).steps
        if row["split"] == "train" and row["step"] < steps and now - self.said < self.every:
            return
        self.said = now
        of = f"{row['step']}/{steps}" if row["split"] == "train" else row["split"]
        start, first = self.began.setdefault(row["stage"], (now, row["step"]))
        done = row["step"] - first
        left = f" | {(now - start) / done * (steps - row['step']):.0f} s left" if done > 0 else ""
        print(f"train {row['stage']} {of} {losses_text(row)}{left}", file=sys.stderr, flush=True)

    def log(self, row: Row) -> None:
        """Every row to the run's stream: losses by name among the fields."""
        fields = {"done": row["step"], "total": self.config.stage(row["stage"]).steps, "unit": "steps", **row}
        text = f"train {row['stage']} {row['split']} {row['step']}/{fields['total']} {losses_text(row)}"
        log.info("%s", text, extra={"step": f"train {row['stage']}", "fields": fields})


def start_of(store: Store, start: str, config: TrainConfig) -> Start | None:
    """The weights to begin with; None: from scratch, as too where the champion is asked for and none is in place.

    Raises UsageError for a checkpoint that nobody knows, StartError for one whose parts are not the config's.
    """
    if start == SCRATCH:
        return None
    if start == CHAMPION:
        row = promoted(store)
        if row is None:
            print("train: no model is in place yet, so this one begins from scratch", file=sys.stderr)
            return None
        folder = local_copy(str(row["uri"]))
    else:
        folder = resolve(store.uri(), start)
    from codi2_model.training.warm_start import check, model_config  # imports torch

    check(folder, model_config(config))
    return Start(weights_digest(folder)[:16], folder)


def continued(store: Store, request: TrainRequest) -> str | None:
    """The champion's URI, where it came of the very config and build of the request, begun with other weights.

    So a line that continues its champion and finds no new data has nothing to do, instead of training on and on.
    """
    row = promoted(store)
    if row is None:
        return None
    config = json.dumps(TrainConfig.from_yaml(request.config).to_dict(), sort_keys=True)
    query = """select 1 from checkpoints join runs using (run_id)
               where checkpoint_id = ? and config = ? and build_id = ? and start is not null"""
    found = Catalog(store).sql(query, [row["checkpoint_id"], config, request.build]).num_rows
    return str(row["uri"]) if found else None


def run_id(config: TrainConfig, build_id: str, start: str | None = None) -> str:
    """The same config, build and start (a checkpoint's id) are the same run."""
    return "train-" + digest([config.to_dict(), build_id, *([start] if start else [])])[:12]


def local_shards(catalog: Catalog, build_id: str) -> list[str]:
    """The build's train and validation shards as files of this machine; from a remote root they are copied once."""
    names = catalog.sql(
        "select shard from shards where split in ('train', 'validation') order by shard", build=build_id
    ).to_pylist()
    found = []
    for name in (row["shard"] for row in names):
        local = catalog.store.local_path(name)
        if local is None:
            target = cache_home() / name  # named by the hash of its content, so never stale
            if not target.exists():
                Store(cache_home()).write_bytes(name, catalog.store.read_bytes(name))
            local = str(target)
        found.append(local)
    return found


def last_metrics(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last value of every number a stage logged, as rows of `metrics`."""
    last: dict[tuple[str, str, str], float] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                last[row["stage"], row["split"], name] = float(value)
    return [
        {"suite": f"training/{stage}", "split": split, "metric": name, "value": value}
        for (stage, split, name), value in sorted(last.items())
    ]
