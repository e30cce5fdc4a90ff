"""Stage `preference`: direct preference optimisation (DPO) of the language model on chosen and rejected replies.

The loss of a pair is -log sigmoid(-(D(chosen) - D(rejected))), where D(reply) is how much more the model errs on a reply than
the reference model, the one that the stage starts from:

- tokens: `beta` times the difference of their negative log-likelihoods (Rafailov et al. 2023, equation 7);
- media: `media_beta` times the difference of the features' and the diffusion loss, with the same noise and times in both
  models and both replies (Diffusion-DPO, Wallace et al. 2024, equation 14). The decoders are frozen.

The losses of the reference model are computed once, before the first step, for a fixed number of noises of every pair, and
are part of the checkpoints. So there is no second model in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from codi2_model.training.config import TrainConfig
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.loop import Runtime, Stage, move
from codi2_model.training.stages.mllm import language_modules


def preference_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    """Create the stage `preference`. Its samples come from `pairs`, not from the shards."""
    from codi2_model.training.data.preference_pairs import PreferencePairs, read_pairs  # imports pyarrow

    options = config.preference
    pairs = read_pairs(options.pairs, options.tasks)
    source, held_out = (
        PreferencePairs(pairs[split], processor, config.seed, options.noises) for split in ("train", "validation")
    )
    betas = torch.tensor([options.beta, options.media_beta], device=runtime.device)

    def losses(batch: Sequence[Mapping[str, Any]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        margins = torch.stack([margin(model, pair, betas) for pair in batch])
        preferred = (margins.detach() > 0).float().sum()
        return {
            "preference": -F.logsigmoid(margins).sum() / counts["preference"],
            "accuracy": preferred / counts["preference"],
        }

    def counts(draws: Sequence[Draw], step: int = 0) -> dict[str, float]:
        return {"preference": float(len(draws))}

    def evaluate() -> dict[str, float]:
        draws = [Draw(task, i, 0) for task, n in held_out.sizes.items() for i in range(min(n, options.eval_samples))]
        if not draws:
            return {}
        values = losses(move(held_out.load(draws), runtime.device), counts(draws))
        return {name: float(value) for name, value in values.items()}

    def prepare(saved: dict[str, Any] | None) -> dict[str, Any]:
        state = saved or {
            "train": reference_losses(model, source, runtime),
            "validation": reference_losses(model, held_out, runtime),
        }
        source.reference, held_out.reference = state["train"], state["validation"]
        return state

    weights = {"preference": 1.0, "accuracy": 0.0}  # accuracy: share of pairs that the model tells apart as it should
    return Stage("preference", language_modules(model), source, counts, losses, weights, evaluate, prepare=prepare)


def reply_losses(model: Any, batch: Any) -> torch.Tensor:
    """Losses (2,) of the only sample of a batch: the negative log-likelihood of its tokens, the weighted losses of its media."""
    ones = dict.fromkeys(model.loss_counts(1, 1), 1.0)  # sums over the reply, not means
    losses = dict(model(**batch, counts=ones).losses)
    nothing = torch.zeros((), device=model.device)
    tokens = losses.pop("tokens", nothing).float()
    weights = model.config.loss_weights
    media = sum((getattr(weights, name) * value.float() for name, value in losses.items()), nothing)
    return torch.stack([tokens, media])


def margin(model: Any, pair: Mapping[str, Any], betas: torch.Tensor) -> torch.Tensor:
    """The argument of the sigmoid, a scalar: above 0 if the model prefers the chosen reply more than the reference does."""
    chosen, rejected = (reply_losses(model, reply) for reply in pair["replies"])
    gain = pair["reference"][0] - chosen - (pair["reference"][1] - rejected)
    return (betas * gain).sum()


@torch.no_grad()
def reference_losses(model: Any, source: Any, runtime: Runtime) -> dict[str, list[list[list[list[float]]]]]:
    """The losses of the model as it is, for every pair and noise; see `PreferencePairs.reference`."""

    def pair_losses(task: str, index: int, noise: int) -> list[list[float]]:
        replies = move(source.replies(task, index, noise), runtime.device)
        with runtime.autocast():
            return [reply_losses(model, reply).tolist() for reply in replies]

    return {
        task: [[pair_losses(task, index, noise) for noise in range(source.noises)] for index in range(count)]
        for task, count in source.sizes.items()
    }
