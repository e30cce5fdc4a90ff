"""Stage `decoders`: train the diffusion decoders to generate media from encoder features.

The features are those of the medium itself, or those of a caption (option `from_captions`). The encoders are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.modules.noise import row_generators
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import DecoderMedia
from codi2_model.training.loop import Runtime, Stage, move

CAPTION_BATCH = 128
Losses = Callable[[dict[str, dict[str, torch.Tensor]], Mapping[str, float]], dict[str, torch.Tensor]]


def decoders_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    """Create the stage `decoders`."""
    options = config.decoders
    source_options = model.config.use_reference, config.seed, options.from_captions
    source, held_out = (
        DecoderMedia(shards, cache, options.tasks, split, *source_options) for split in ("train", "validation")
    )
    losses, held_out_losses = (make_losses(model, processor, media, runtime) for media in (source, held_out))

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


def make_losses(model: Any, processor: Any, media: DecoderMedia, runtime: Runtime) -> Losses:
    """The loss function of a split. The features of its captions are computed once, in this call."""
    text_features = caption_features(model, processor, media.captions, runtime)

    def losses(batch: dict[str, dict[str, torch.Tensor]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        by_modality = {}
        for modality, part in batch.items():
            with torch.no_grad():
                features = model.encoders.features(modality, part["media"])
                from_caption = part["captions"] >= 0
                if bool(from_caption.any()):
                    chosen = text_features[part["captions"][from_caption]].to(features)
                    features[from_caption] = chosen[:, None].expand(-1, features.shape[1], -1)
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
    """Features (N, D) of captions, encoded in an order sorted by length, so that a resumed run computes the same bits."""
    features = torch.zeros(len(captions), model.config.feature_dim, device=runtime.device)
    order = sorted(range(len(captions)), key=lambda number: (len(captions[number]), captions[number]))
    for start in range(0, len(order), CAPTION_BATCH):
        numbers = order[start : start + CAPTION_BATCH]
        ids, mask = processor.encode_captions([captions[number] for number in numbers])
        with runtime.autocast():
            features[numbers] = model.encode_text(ids.to(runtime.device), mask.to(runtime.device)).float()
    return features
