"""Stage 3: CoDi-2 itself. The language model and its projections learn from whole conversations: tokens, features and
the diffusion loss through the frozen decoders."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

import torch

from codi2_model.config import MODALITIES
from codi2_model.training.config import TrainConfig
from codi2_model.training.loop import Runtime, Stage, move
from codi2_model.training.mixture import Draw
from codi2_model.training.retrieval import rank_first
from codi2_model.training.shards import MediaCache, ShardSet
from codi2_model.training.sources import Conversations

EVAL_BATCH = 32


def mllm_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    options = config.mllm
    source = Conversations(shards, cache, processor, options.tasks, "train", options.packed)
    held_out = Conversations(shards, cache, processor, options.tasks, "validation")

    def losses(batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step % options.diffusion_every == 0:
            return model(**batch).losses
        whole = model.config.loss_weights
        model.config.loss_weights = dataclasses.replace(
            whole, diffusion=0.0
        )  # the model leaves out what weighs nothing
        try:
            return model(**batch).losses
        finally:
            model.config.loss_weights = whole

    def evaluate() -> dict[str, float]:
        """Mean losses, and per task how often a predicted feature lies nearest its own target (`TASK_retrieval`)."""
        sums: dict[str, list[float]] = {}
        scores: dict[str, float] = {}
        for task, size in held_out.sizes.items():
            guesses, rights = [], []
            count = min(size, options.eval_samples)
            for start in range(0, count, EVAL_BATCH):
                draws = [Draw(task, i, i) for i in range(start, min(start + EVAL_BATCH, count))]
                batch = move(held_out.load(draws), runtime.device)
                output = model(**batch)
                for name, value in output.losses.items():
                    sums.setdefault(name, []).append(float(value))
                for modality in MODALITIES:
                    if modality in output.predicted:
                        target = batch[f"{modality}_target"]
                        guesses.append(output.predicted[modality][target].flatten(1))
                        rights.append(output.true[modality][target].flatten(1))
            with suppress(ValueError):  # all targets are one and the same: nothing to tell apart
                if guesses:
                    found = rank_first(torch.cat(guesses), torch.cat(rights), config.seed)
                    scores[f"{task}_retrieval"] = found.accuracy
        return {name: sum(values) / len(values) for name, values in sums.items()} | scores

    weights = dataclasses.asdict(model.config.loss_weights)
    modules = [model.in_projection, *model.trained_llm(), model.head, model.aligners]
    return Stage("mllm", modules, source, losses, weights, evaluate)
