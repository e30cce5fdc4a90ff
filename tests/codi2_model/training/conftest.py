"""Fixtures: shards and an uninterrupted run, shared by the tests of training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codi2_model.training.config import TrainConfig
from codi2_model.training.metrics.journal import UNREPEATABLE, read_rows
from codi2_model.training.run import train
from tests.codi2_model.shards import write_shards

from .worker import run_command, start


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_shards(tmp_path_factory.mktemp("training-shards"), train=24, held_out=6)


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    """The config `test`, with fewer steps."""
    base = TrainConfig.from_yaml("test")
    return replace(
        base,
        align=replace(base.align, steps=4, checkpoint_every=3),
        decoders=replace(base.decoders, steps=3, checkpoint_every=2),
        mllm=replace(base.mllm, steps=4, checkpoint_every=2),
    )


@pytest.fixture(scope="session")
def whole_run(shards: list[str], config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    train(config, shards, out, quiet=True)
    return out


def kill_when(due: Callable[[], bool], arguments: Sequence[str]) -> None:
    """Start the command line of training and kill it without cleanup as soon as `due` returns true."""
    process = start(run_command, arguments)
    deadline = time.monotonic() + 200
    while not due():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.0005)
    process.kill()
    process.join()


def curve(out: Path) -> list[dict[str, Any]]:
    """Rows of a run without times, which differ between runs."""
    return [{k: v for k, v in row.items() if k not in UNREPEATABLE} for row in read_rows(out / "metrics.jsonl")]


def weights(out: Path) -> bytes:
    return (out / "final" / "model.safetensors").read_bytes()
