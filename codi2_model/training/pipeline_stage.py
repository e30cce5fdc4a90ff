"""Training stage of the pipeline: reads the shards of a build, trains, and records the checkpoint in the catalog."""

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
from codi2_model.checkpoints.registry import TrainedRun, finished, local_copy, promoted, record, resolve, run_folder
from codi2_model.training.config import STAGES, TrainConfig
from codi2_model.training.metrics.journal import Row, losses_text, read_rows
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.coordination.leases import lease, still_ours
from codi2_storage.errors import UsageError
from codi2_storage.host.folders import cache_home
from codi2_storage.store import Store

log = logging.getLogger("codi2.train")
SCRATCH, CHAMPION = "scratch", "champion"


@dataclass(frozen=True)
class TrainRequest:
    """Options of a training: a config (file or name) and a build of the root (None: the latest)."""

    config: str
    root: str
    build: str | None = None
    workers: int = 1
    start: str = SCRATCH
    """Initial weights: scratch, champion (the promoted model), or a checkpoint by id, folder or URI."""
    settings: tuple[str, ...] = ()
    """Settings that override those of the config: mllm.steps=50."""


@dataclass(frozen=True)
class Start:
    """Checkpoint whose weights a run starts from."""

    checkpoint_id: str
    folder: Path


def train_and_record(request: TrainRequest) -> str:
    """Train with Ray Train and record the result in the catalog. Returns the URI of the checkpoint.

    A finished run of the same config, build and start is not repeated. An interrupted run resumes from its last
    checkpoint.
    """
    config = TrainConfig.from_yaml(request.config, request.settings)
    if request.workers < 1:
        raise UsageError(f"--workers {request.workers}: must be at least 1")
    store = Store(request.root)
    catalog = Catalog(store)
    build_id = build_to_train(catalog, request.build)
    check_tasks(config, train_tasks(catalog, build_id), f"build {build_id}")
    start = resolve_start(store, request.start, config)
    identity = run_id(config, build_id, start.checkpoint_id if start else None)
    if recorded := finished(store, identity):
        return str(recorded["uri"])
    about = f"a training on {build_id}"
    # one of several equal trainings runs, the others wait for it
    with lease(store, identity, about=about), cache_lease(store, identity, about):
        if recorded := finished(store, identity):
            return str(recorded["uri"])
        return run_training(request, config, catalog, build_id, start)


@contextmanager
def cache_lease(store: Store, identity: str, about: str) -> Iterator[None]:
    """Lease of the run's folder in the local cache, which equal trainings of several remote roots share."""
    if store.is_local:
        yield
        return
    with lease(Store(cache_home()), identity, about=about):
        yield


def check_tasks(config: TrainConfig, tasks: Collection[str], where: str) -> None:
    """Raise UsageError if a stage has no task for which the dataset has train samples."""
    for name in STAGES:
        stage = config.stage(name)
        if stage.steps and not set(stage.tasks) & set(tasks):
            configured, available = ", ".join(sorted(stage.tasks)), ", ".join(sorted(tasks)) or "no task"
            raise UsageError(f"{name}.tasks: the config has {configured}; {where} has train samples of {available}")


def train_tasks(catalog: Catalog, build_id: str) -> list[str]:
    """Tasks with train samples in a build."""
    query = "select distinct task from samples where split = 'train' order by 1"
    return [row["task"] for row in catalog.sql(query, build=build_id).to_pylist()]


def build_to_train(catalog: Catalog, build: str | None) -> str:
    """The id of a build (None: the latest). Raises UsageError if no build is published."""
    if (build_id := catalog.named(build)) is None:
        where = catalog.store.root
        raise UsageError(f"no published build under {where} to train on; run `codi2 build demo --root {where}` first")
    return build_id


def run_training(
    request: TrainRequest, config: TrainConfig, catalog: Catalog, build_id: str, start: Start | None
) -> str:
    """Train and record, under the lease of the caller. Returns the URI of the checkpoint."""
    from codi2_model.training.ray_train import train_distributed

    store = catalog.store
    start_id, start_folder = (start.checkpoint_id, start.folder) if start else (None, None)
    identity = run_id(config, build_id, start_id)
    folder = run_folder(store, identity)
    started = time.monotonic()
    shards = local_shards(catalog, build_id)
    logger = ProgressLogger(config)
    checkpoint = train_distributed(config, shards, folder, request.workers, on_metrics=logger, start=start_folder)
    rows = read_rows(folder / "metrics.jsonl")
    seconds = round(time.monotonic() - started, 1)
    run = TrainedRun(
        identity,
        build_id,
        config.to_dict(),
        config.stage(config.last_stage).steps,
        seconds,
        config.seed,
        request.workers,
        start_id,
    )
    still_ours(store, identity)
    record(store, run, checkpoint, last_metrics(rows))
    recorded = finished(store, identity)
    return str(recorded["uri"]) if recorded else str(checkpoint)


class ProgressLogger:
    """Prints the progress of a run to stderr every few seconds; the output of the workers stays in their logs."""

    def __init__(self, config: TrainConfig, every: float = 10.0) -> None:
        self.config, self.every, self.last_printed = config, every, 0.0
        self.first_rows: dict[str, tuple[float, int]] = {}  # stage -> time and step of its first row

    def __call__(self, row: Row) -> None:
        self.log(row)
        now = time.monotonic()
        steps = self.config.stage(row["stage"]).steps
        if row["split"] == "train" and row["step"] < steps and now - self.last_printed < self.every:
            return
        self.last_printed = now
        position = f"{row['step']}/{steps}" if row["split"] == "train" else row["split"]
        start, first = self.first_rows.setdefault(row["stage"], (now, row["step"]))
        done = row["step"] - first
        left = f" | {(now - start) / done * (steps - row['step']):.0f} s left" if done > 0 else ""
        print(f"train {row['stage']} {position} {losses_text(row)}{left}", file=sys.stderr, flush=True)

    def log(self, row: Row) -> None:
        """Log every row to the run's log, with the losses as fields."""
        fields = {"done": row["step"], "total": self.config.stage(row["stage"]).steps, "unit": "steps", **row}
        text = f"train {row['stage']} {row['split']} {row['step']}/{fields['total']} {losses_text(row)}"
        log.info("%s", text, extra={"step": f"train {row['stage']}", "fields": fields})


def resolve_start(store: Store, start: str, config: TrainConfig) -> Start | None:
    """The checkpoint to start from. None: from scratch, also if the champion is requested and none is promoted.

    Raises UsageError for an unknown checkpoint, UsageError for one that does not fit the config.
    """
    if start == SCRATCH:
        return None
    if start == CHAMPION:
        row = promoted(store)
        if row is None:
            print("train: no champion yet, training from scratch", file=sys.stderr)
            return None
        folder = local_copy(str(row["uri"]))
    else:
        folder = resolve(store.uri(), start)
    from codi2_model.training.warm_start import check  # imports torch

    check(folder, config)
    return Start(weights_digest(folder)[:16], folder)


def up_to_date_champion(store: Store, request: TrainRequest) -> str | None:
    """URI of the champion if it was trained with the config and build of the request, from other weights; else None.

    A retraining that starts from its champion has nothing to do if there is no new data.
    """
    row = promoted(store)
    if row is None:
        return None
    config = json.dumps(TrainConfig.from_yaml(request.config, request.settings).to_dict(), sort_keys=True)
    query = """select 1 from checkpoints join runs using (run_id)
               where checkpoint_id = ? and config = ? and build_id = ? and start is not null"""
    matches = Catalog(store).sql(query, [row["checkpoint_id"], config, request.build]).num_rows
    return str(row["uri"]) if matches else None


def run_id(config: TrainConfig, build_id: str, start: str | None = None) -> str:
    """Id of a run: the hash of config, build and start (the id of a checkpoint)."""
    return "train-" + digest([config.to_dict(), build_id, *([start] if start else [])])[:12]


def local_shards(catalog: Catalog, build_id: str) -> list[str]:
    """Local paths of the train and validation shards of a build; those of a remote root are copied to the cache."""
    names = catalog.sql(
        "select shard from shards where split in ('train', 'validation') order by shard", build=build_id
    ).to_pylist()
    paths = []
    for name in (row["shard"] for row in names):
        local = catalog.store.local_path(name)
        if local is None:
            target = cache_home() / name  # the name is a hash of the content, so the copy is never stale
            if not target.exists():
                Store(cache_home()).write_bytes(name, catalog.store.read_bytes(name))
            local = str(target)
        paths.append(local)
    return paths


def last_metrics(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last value of every metric of each stage, as rows of the table `metrics`."""
    last: dict[tuple[str, str, str], float] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                last[row["stage"], row["split"], name] = float(value)
    return [
        {"suite": f"training/{stage}", "split": split, "metric": name, "value": value}
        for (stage, split, name), value in sorted(last.items())
    ]
