"""A checkpoint made small enough to come with the package: `python -m codi2_model.shipping CHECKPOINT OUT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor


def ship(checkpoint: str | Path, out: str | Path, shard_mb: int = 18, **settings: Any) -> Path:
    """Write model and processor to `out`, weights as bfloat16 in files of at most `shard_mb`. Returns the folder.

    settings: fields of the config that change no weight, `sampling_steps` and `guidance`.
    """
    model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint)
    for name, value in settings.items():
        setattr(model.config, name, value)
    model.to(torch.bfloat16).save_pretrained(out, max_shard_size=f"{shard_mb}MB")
    processor = CoDi2Processor.from_pretrained(checkpoint)
    processor.config = model.config
    processor.save_pretrained(out)
    return Path(out)


if __name__ == "__main__":
    print(ship(sys.argv[1], sys.argv[2]))
