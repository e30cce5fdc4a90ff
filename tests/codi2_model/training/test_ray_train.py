"""Training with Ray Train: equal to training without it, also after a worker has died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_model.training.config import TrainConfig
from codi2_model.training.metrics.journal import Row
from codi2_model.training.ray_train import train_distributed
from codi2_model.training.run import train
from codi2_storage.errors import UsageError
from tests.processes import descendants

from .conftest import curve, weights


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with local_cluster(num_cpus=3):
        yield


@pytest.mark.slow
def test_one_worker_that_is_killed_once_ends_with_the_bits_of_a_plain_run(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_once(row: Row) -> None:
        if row["stage"] == "decoders" and not killed:
            workers = descendants(os.getpid(), "TrainWorker")
            killed.extend(workers)
            for pid in workers:
                os.kill(pid, signal.SIGKILL)

    train_distributed(config, shards, tmp_path, workers=1, on_metrics=kill_once)
    assert killed
    assert curve(tmp_path) == curve(whole_run)
    assert weights(tmp_path) == weights(whole_run)
    assert not (tmp_path / "ray").exists()
    assert train_distributed(config, shards, tmp_path) == tmp_path / "final"  # done: no worker starts
    with pytest.raises(UsageError, match="config seed"):
        train_distributed(replace(config, seed=9), shards, tmp_path)


@pytest.mark.slow
def test_two_workers_see_the_batch_and_the_negatives_of_one(
    config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    none = {name: replace(config.stage(name), steps=0) for name in ("decoders", "mllm")}
    short = replace(config, **none)
    train(short, shards, tmp_path / "one", quiet=True)
    train_distributed(short, shards, tmp_path / "two", workers=2)
    one, two = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("one", "two"))
    start = {key: value for key, value in one.items() if key.startswith("encoders.")}
    assert (
        max(float((one[key] - two[key]).abs().max()) for key in start) < 5e-4
    )  # AdamW moved them by about 4 * lr = 8e-3
    for left, right in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        assert right["image"] == pytest.approx(left["image"], rel=1e-3)
        assert right["audio"] == pytest.approx(left["audio"], rel=1e-3)
    assert torch.is_tensor(one["encoders.log_temperature"])
