"""Stage 2: the diffusion decoders learn to draw a medium from its features; the encoders that give them are frozen."""

from __future__ import annotations

from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.training.config import TrainConfig
from codi2_model.training.loop import Runtime, Stage, move
from codi2_model.training.mixture import Draw
from codi2_model.training.shards import MediaCache, ShardSet
from codi2_model.training.sources import DrawnMedia


def decoders_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    options = config.decoders
    use_reference = model.config.use_reference
    source = DrawnMedia(shards, cache, options.tasks, "train", use_reference)
    held_out = DrawnMedia(shards, cache, options.tasks, "validation", use_reference)

    def losses(batch: dict[str, dict[str, torch.Tensor]], step: int = 0) -> dict[str, torch.Tensor]:
        found = {}
        for modality, part in batch.items():
            with torch.no_grad():
                features = model.encoders.features(modality, part["media"])
            reference = Reference(part["references"], part["present"])
            found[modality] = model.decoder(modality).loss(features, part["media"], reference)
        return found

    def evaluate() -> dict[str, float]:
        draws = [Draw(task, i, i) for task, n in held_out.sizes.items() for i in range(min(n, options.eval_samples))]
        batch = move(held_out.load(draws), runtime.device)
        return {modality: float(value) for modality, value in losses(batch).items()}

    weights = {name: options.loss_weights.get(name, 1.0) for name in model.config.modalities}
    modules = [part for decoder in model.decoders.values() for part in decoder.trained()]
    return Stage("decoders", modules, source, losses, weights, evaluate)
