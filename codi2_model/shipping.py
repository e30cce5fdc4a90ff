"""A checkpoint made small enough to come with the package: `python -m codi2_model.shipping CHECKPOINT OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor


def ship(checkpoint: str | Path, out: str | Path, shard_mb: int = 18) -> Path:
    """Write model and processor to `out`, weights as bfloat16 in files of at most `shard_mb`. Returns the folder."""
    model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint)
    model.to(torch.bfloat16).save_pretrained(out, max_shard_size=f"{shard_mb}MB")
    CoDi2Processor.from_pretrained(checkpoint).save_pretrained(out)
    return Path(out)


if __name__ == "__main__":
    print(ship(sys.argv[1], sys.argv[2]))
