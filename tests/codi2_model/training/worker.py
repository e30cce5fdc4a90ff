"""Training runs with several worker processes, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from codi2_model.training.config import TrainConfig
from codi2_model.training.run import train

ROOT = Path(__file__).parents[3]
CONTEXT = multiprocessing.get_context("forkserver")
# torch, transformers and diffusers are imported once, by the server that the workers are forked from
CONTEXT.set_forkserver_preload(["codi2_model.training.run", "codi2_model.modeling", "codi2_model.processor"])


def run_workers(config: TrainConfig, shards: Sequence[str], out: Path, world: int = 2) -> None:
    """Train to the end; the output of a failed worker is in the assertion."""
    out.mkdir(parents=True, exist_ok=True)
    store(out).unlink(missing_ok=True)
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # which the workers take over, to find this module
    workers: list[BaseProcess] = [
        CONTEXT.Process(target=work, args=(config.to_dict(), list(shards), str(out), rank, world), daemon=True)
        for rank in range(world)
    ]
    for worker in workers:
        worker.start()
    for rank, worker in enumerate(workers):
        worker.join(240)
        assert worker.exitcode == 0, said(out, rank).read_text()[-3000:]


def store(out: Path) -> Path:
    return out.with_name(f"{out.name}.store")


def said(out: Path, rank: int) -> Path:
    return out.with_name(f"{out.name}.{rank}.stderr")


def work(config: dict[str, object], shards: list[str], out: str, rank: int, world: int) -> None:
    with open(said(Path(out), rank), "w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    init = f"file://{store(Path(out))}"
    torch.distributed.init_process_group("gloo", init_method=init, rank=rank, world_size=world)
    train(TrainConfig.from_dict(config), shards, out, rank, world)
    torch.distributed.destroy_process_group()
