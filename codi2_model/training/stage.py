"""Training as a stage of the pipeline: shards from the catalog in, a recorded checkpoint out."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from codi2_datasets.engine import cache_home
from codi2_datasets.identity import digest
from codi2_model.checkpoints import TrainedRun, UsageError, finished, record, run_folder
from codi2_model.training.config import TrainConfig
from codi2_model.training.journal import Row, losses_text, read_rows
from codi2_storage.catalog import Catalog
from codi2_storage.store import Store


@dataclass(frozen=True)
class TrainRequest:
    """What to train: a config (file or shipped name) on a build of the root (the latest if None)."""

    config: str
    root: str
    build: str | None = None
    workers: int = 1


def train_and_record(request: TrainRequest) -> str:
    """Train under Ray Train and put the result into the catalog; an equal run that finished is not repeated.

    Returns the checkpoint's URI. A run that was stopped goes on from its last checkpoint.
    """
    config = TrainConfig.from_yaml(request.config)
    if request.workers < 1:
        raise UsageError(f"--workers {request.workers}: at least 1")
    store = Store(request.root)
    catalog = Catalog(store)
    build_id = request.build or catalog.latest_build()
    if build_id is None:
        raise UsageError(f"nothing to train on: no published build under {request.root}; run `codi2 build demo` first")
    identity = run_id(config, build_id)
    if known := finished(store, identity):
        return str(known["uri"])
    from codi2_model.training.distributed import train_distributed

    folder = run_folder(store, identity)
    start = time.monotonic()
    shards = local_shards(catalog, build_id)
    teller = Teller(config)
    checkpoint = train_distributed(config, shards, folder, request.workers, on_metrics=teller)
    rows = read_rows(folder / "metrics.jsonl")
    seconds = round(time.monotonic() - start, 1)
    run = TrainedRun(identity, build_id, config.to_dict(), config.mllm.steps, seconds, config.seed, request.workers)
    record(store, run, checkpoint, last_metrics(rows))
    known = finished(store, identity)
    return str(known["uri"]) if known else str(checkpoint)


class Teller:
    """Says how far a run is, a line every few seconds: workers' own lines stay in their logs."""

    def __init__(self, config: TrainConfig, every: float = 10.0) -> None:
        self.config, self.every, self.said = config, every, 0.0
        self.began: dict[str, tuple[float, int]] = {}  # stage -> when its first row came, and the row's step

    def __call__(self, row: Row) -> None:
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


def run_id(config: TrainConfig, build_id: str) -> str:
    return "train-" + digest([config.to_dict(), build_id])[:12]


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
