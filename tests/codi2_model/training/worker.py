"""Training in processes of its own, without Ray: forked from one that has imported what it needs."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from codi2_model.training.config import TrainConfig
from codi2_model.training.run import main, train

ROOT = Path(__file__).parents[3]
CONTEXT = multiprocessing.get_context("forkserver")
# imported once, by the server that the processes are forked from; the latter two are what plots and metrics load
OURS = [
    "codi2_model.training.run",
    "codi2_model.modeling",
    "codi2_model.processor",
    "codi2_model.generation.conversations",
]
CONTEXT.set_forkserver_preload([*OURS, "matplotlib.pyplot", "tensorboardX"])


def run_workers(config: TrainConfig, shards: Sequence[str], out: Path, world: int = 2) -> None:
    """Train to the end; the output of a failed worker is in the assertion."""
    out.mkdir(parents=True, exist_ok=True)
    store(out).unlink(missing_ok=True)
    workers = [start(work, config.to_dict(), list(shards), str(out), rank, world) for rank in range(world)]
    for rank, worker in enumerate(workers):
        worker.join(240)
        assert worker.exitcode == 0, said(out, rank).read_text()[-3000:]


def start(target: Callable[..., object], *arguments: object) -> BaseProcess:
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # which the process takes over, to find this module
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def run_command(arguments: Sequence[str]) -> None:
    """The command line of training; nobody reads what it says."""
    with open(os.devnull, "w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.exit(main(arguments))


def tell_modules(writer: Connection) -> None:
    """Send the names of all modules that training and generation import."""
    writer.send(set(sys.modules))


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
