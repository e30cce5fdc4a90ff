"""One of several workers of a run, without Ray: `python -m tests.codi2_model.training.worker CONFIG OUT RANK WORLD STORE SHARD...`"""

from __future__ import annotations

import sys

import torch

from codi2_model.training.config import TrainConfig
from codi2_model.training.run import train


def main(config: str, out: str, rank: str, world: str, store: str, *shards: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world))
    train(TrainConfig.from_yaml(config), shards, out, int(rank), int(world), quiet=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
