"""Stage `decoders`: train the diffusion decoders to generate media from encoder features or prompts.

The features are those of the medium itself; prompts (option `from_prompts`) are read by the prompt reader, or by the text
encoder alone. The encoders are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.modules.noise import row_generators
from codi2_model.modules.perceptual import PerceptualDistance
from codi2_model.options import TransformerOptions
from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.prompts import PromptFeatures, PromptStates
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import DecoderMedia
from codi2_model.training.loop import Runtime, Stage, move

PERCEPTUAL = "image_perceptual"
CLEAR = 0.25
"""Time from which the perceptual loss counts: from more noise than that, the best prediction is a blurred mean."""
Losses = Callable[[dict[str, dict[str, torch.Tensor]], Mapping[str, float]], dict[str, torch.Tensor]]


def decoders_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    """Create the stage `decoders`."""
    options = config.decoders
    use = int(model.config.use_reference)
    references = {name: use * model.config.reference_count(name) for name in model.config.modalities}
    source_options = references, config.seed, options.from_prompts
    source = DecoderMedia(shards, cache, options.tasks, "train", *source_options, options.balance)
    held_out = DecoderMedia(shards, cache, options.tasks, "validation", *source_options)
    perceptual = load_perceptual(model, config, runtime) if options.perceptual else None
    losses = make_losses(model, processor, source, runtime, options.prompt_noise, perceptual)
    held_out_losses = make_losses(model, processor, held_out, runtime)

    def counts(draws: Sequence[Draw], step: int = 0) -> dict[str, float]:
        return source.counts(draws)

    def evaluate() -> dict[str, float]:
        draws = [Draw(task, i, i) for task, n in held_out.sizes.items() for i in range(min(n, options.eval_samples))]
        batch = move(held_out.load(draws), runtime.device)
        return {name: float(value) for name, value in held_out_losses(batch, held_out.counts(draws)).items()}

    weights = {name: options.loss_weights.get(name, 1.0) for name in model.config.modalities}
    if perceptual is not None:
        weights[PERCEPTUAL] = options.perceptual
    modules = [part for decoder in model.decoders.values() for part in decoder.trained()]
    if model.config.decoder_input != "features":
        modules.append(model.aligners)
    if model.prompt_reader is not None:
        modules.append(model.prompt_reader)
    return Stage("decoders", modules, source, counts, losses, weights, evaluate)


def load_perceptual(model: Any, config: TrainConfig, runtime: Runtime) -> PerceptualDistance:
    """The network of the perceptual loss. Raises ConfigError if the image decoder does not predict clean images."""
    if not isinstance(model.config.image_decoder, TransformerOptions):
        raise ConfigError(
            "decoders.perceptual: needs an image decoder of kind transformer, which predicts clean images"
        )
    distance = PerceptualDistance().load().to(runtime.device)
    if config.compile:
        distance.compile(dynamic=True)
    return distance


def make_losses(
    model: Any,
    processor: Any,
    media: DecoderMedia,
    runtime: Runtime,
    noise: float = 0.0,
    perceptual: PerceptualDistance | None = None,
) -> Losses:
    """The loss function of a split. The text encoder's output for its prompts is computed once, in this call."""
    prompts: PromptFeatures | PromptStates
    if model.prompt_reader is None:
        prompts = PromptFeatures(model, processor, media.prompts, runtime)
    else:
        prompts = PromptStates(model, processor, media.prompts, runtime, noise)

    def losses(batch: dict[str, dict[str, torch.Tensor]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        terms = {}
        for modality, part in batch.items():
            condition = condition_of(model, prompts, modality, part["media"], part["prompts"])
            reference = Reference(part["references"], part["present"])
            generators = row_generators(part["seeds"].tolist())
            decoder = model.decoder(modality)
            prediction = decoder.predict(condition, part["media"], reference, generators)
            terms[modality] = decoder.error(prediction, counts[modality])
            if perceptual is not None and modality == "image":
                clear = prediction.times > CLEAR
                distances = perceptual(prediction.output[clear], prediction.latents[clear])
                terms[PERCEPTUAL] = distances.sum() / counts[modality]
        return terms

    return losses


def condition_of(
    model: Any, prompts: PromptFeatures | PromptStates, modality: str, media: torch.Tensor, numbers: torch.Tensor
) -> torch.Tensor:
    """What the decoder is conditioned on for each medium (N, slots, decoder_dim): its prompt where `numbers` (N,) has one,
    its own features where the number is -1."""
    described = numbers >= 0
    order = torch.cat([torch.nonzero(~described)[:, 0], torch.nonzero(described)[:, 0]])
    parts = []
    if not bool(described.all()):
        with torch.no_grad():
            features = model.encoders.features(modality, media[~described])
        by_features = model.config.decoder_input == "features"
        parts.append(features if by_features else model.condition(modality, features, None))
    if bool(described.any()):
        parts.append(prompts.condition(modality, numbers[described]))
    return torch.cat(parts)[order.argsort()]
