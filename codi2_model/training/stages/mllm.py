"""Stage `mllm`: train the language model, projections and feature head on whole conversations.

Losses: tokens, features, and the diffusion loss through the decoders (frozen unless `train_decoders`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from codi2_model.config import MODALITIES
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.feature_cache import FeatureCache
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import Conversations
from codi2_model.training.loop import Runtime, Stage, move
from codi2_model.training.metrics.retrieval import rank_first

EVAL_BATCH = 32


def mllm_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    """Create the stage `mllm`."""
    options = config.mllm
    source = Conversations(shards, cache, processor, options.tasks, "train", options.packed, config.seed)
    held_out = Conversations(shards, cache, processor, options.tasks, "validation", seed=config.seed)

    def counts(draws: Sequence[Draw], step: int) -> dict[str, float]:
        divisors = model.loss_counts(*source.count(draws))
        if step % options.diffusion_every:
            divisors.pop("diffusion", None)  # the model skips a loss without a count
        return {name: count for name, count in divisors.items() if count}

    feature_cache = FeatureCache(model.encoders, config.cache_mb) if options.cache_features else None

    def encoded(batch: Any) -> dict[str, torch.Tensor] | None:
        assets = batch.pop("assets")
        if feature_cache is None:
            return None
        return {
            modality: feature_cache.get(modality, names, batch[f"{modality}s"]) for modality, names in assets.items()
        }

    def losses(batch: Any, counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        return model(**batch, counts=counts, encoded=encoded(batch)).losses

    def evaluate() -> dict[str, float]:
        """Mean losses, and per task how often a predicted feature is nearest to its own target (`TASK_retrieval`)."""
        losses: dict[str, float] = {}
        scores: dict[str, float] = {}
        draws_by_task = {
            task: [Draw(task, i, i) for i in range(min(n, options.eval_samples))] for task, n in held_out.sizes.items()
        }
        counts = model.loss_counts(*held_out.count([draw for draws in draws_by_task.values() for draw in draws]))
        for task, draws in draws_by_task.items():
            predicted, true = [], []
            for start in range(0, len(draws), EVAL_BATCH):
                batch = move(held_out.load(draws[start : start + EVAL_BATCH]), runtime.device)
                output = model(**batch, counts=counts, encoded=encoded(batch))
                for name, value in output.losses.items():
                    losses[name] = losses.get(name, 0.0) + float(value)
                for modality in MODALITIES:
                    if modality in output.predicted:
                        target = batch[f"{modality}_target"]
                        predicted.append(output.predicted[modality][target].flatten(1))
                        true.append(output.true[modality][target].flatten(1))
            with suppress(ValueError):  # all targets are equal: retrieval is undefined
                if predicted:
                    retrieval = rank_first(torch.cat(predicted), torch.cat(true), config.seed)
                    scores[f"{task}_retrieval"] = retrieval.accuracy
        return losses | scores

    weights = dataclasses.asdict(model.config.loss_weights)
    modules = language_modules(model, options.train_decoders)
    length = None if options.packed else source.length  # packed rows have little padding anyway
    return Stage("mllm", modules, source, counts, losses, weights, evaluate, length)


def language_modules(model: Any, with_decoders: bool = False) -> list[nn.Module]:
    """The modules between the frozen encoders and the decoders, and the decoders if they are trained too."""
    modules = [model.in_projection, *model.trained_llm(), model.head, model.aligners]
    if model.text_states is not None:
        modules.append(model.text_projection)
    if model.prompt_reader is not None:  # frozen decoders need its states as they are
        modules.append(model.prompt_reader if with_decoders else model.prompt_reader.from_llm)
    if with_decoders:
        modules += [part for decoder in model.decoders.values() for part in decoder.trained()]
    return modules
