"""Stage 2: the diffusion decoders learn to draw a medium from its features; the encoders that give them are frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.noise import row_generators
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
    source = DrawnMedia(shards, cache, options.tasks, "train", use_reference, config.seed)
    held_out = DrawnMedia(shards, cache, options.tasks, "validation", use_reference, config.seed)

    def counts(draws: Sequence[Draw], step: int = 0) -> dict[str, float]:
        return source.counts(draws)

    def losses(batch: dict[str, dict[str, torch.Tensor]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        found = {}
        for modality, part in batch.items():
            with torch.no_grad():
                features = model.encoders.features(modality, part["media"])
            reference = Reference(part["references"], part["present"])
            noise = row_generators(part["seeds"].tolist())
            found[modality] = model.decoder(modality).loss(features, part["media"], reference, noise, counts[modality])
        return found

    def evaluate() -> dict[str, float]:
        draws = [Draw(task, i, i) for task, n in held_out.sizes.items() for i in range(min(n, options.eval_samples))]
        batch = move(held_out.load(draws), runtime.device)
        return {modality: float(value) for modality, value in losses(batch, held_out.counts(draws)).items()}

    weights = {name: options.loss_weights.get(name, 1.0) for name in model.config.modalities}
    modules = [part for decoder in model.decoders.values() for part in decoder.trained()]
    return Stage("decoders", modules, source, counts, losses, weights, evaluate)
