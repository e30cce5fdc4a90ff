"""Stage 2: the diffusion decoders learn to draw a medium from its features, or from a caption's; the encoders that give them
are frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.modules.noise import row_generators
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import DrawnMedia
from codi2_model.training.loop import Runtime, Stage, move

CAPTIONS_AT_ONCE = 128
Losses = Callable[[dict[str, dict[str, torch.Tensor]], Mapping[str, float]], dict[str, torch.Tensor]]


def decoders_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    options = config.decoders
    about = model.config.use_reference, config.seed, options.from_captions
    source, held_out = (DrawnMedia(shards, cache, options.tasks, split, *about) for split in ("train", "validation"))
    losses, held_out_losses = (losses_of(model, processor, drawn, runtime) for drawn in (source, held_out))

    def counts(draws: Sequence[Draw], step: int = 0) -> dict[str, float]:
        return source.counts(draws)

    def evaluate() -> dict[str, float]:
        draws = [Draw(task, i, i) for task, n in held_out.sizes.items() for i in range(min(n, options.eval_samples))]
        batch = move(held_out.load(draws), runtime.device)
        return {name: float(value) for name, value in held_out_losses(batch, held_out.counts(draws)).items()}

    weights = {name: options.loss_weights.get(name, 1.0) for name in model.config.modalities}
    modules = [part for decoder in model.decoders.values() for part in decoder.trained()]
    if model.config.decoder_states:
        modules.append(model.aligners)
    return Stage("decoders", modules, source, counts, losses, weights, evaluate)


def losses_of(model: Any, processor: Any, drawn: DrawnMedia, runtime: Runtime) -> Losses:
    """The diffusion losses of a split's batches; the features of its captions are computed once, here."""
    words = caption_features(model, processor, drawn.captions, runtime)

    def losses(batch: dict[str, dict[str, torch.Tensor]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        by_modality = {}
        for modality, part in batch.items():
            with torch.no_grad():
                features = model.encoders.features(modality, part["media"])
                described = part["captions"] >= 0
                if bool(described.any()):
                    chosen = words[part["captions"][described]].to(features)
                    features[described] = chosen[:, None].expand(-1, features.shape[1], -1)
            if model.config.decoder_states:
                features = model.aligners[modality](features)
            reference = Reference(part["references"], part["present"])
            noise = row_generators(part["seeds"].tolist())
            by_modality[modality] = model.decoder(modality).loss(
                features, part["media"], reference, noise, counts[modality]
            )
        return by_modality

    return losses


@torch.no_grad()
def caption_features(model: Any, processor: Any, captions: Sequence[str], runtime: Runtime) -> torch.Tensor:
    """Features (N, D) of all captions. They are read in an order of their own, so that a resumed run computes the same bits."""
    found = torch.zeros(len(captions), model.config.feature_dim, device=runtime.device)
    order = sorted(range(len(captions)), key=lambda number: (len(captions[number]), captions[number]))
    for start in range(0, len(order), CAPTIONS_AT_ONCE):
        numbers = order[start : start + CAPTIONS_AT_ONCE]
        ids, mask = processor.encode_captions([captions[number] for number in numbers])
        with runtime.autocast():
            found[numbers] = model.encode_text(ids.to(runtime.device), mask.to(runtime.device)).float()
    return found
