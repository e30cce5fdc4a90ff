"""The losses, each a plain function.

- tokens: cross-entropy where a label stands; - features: 1 - cosine and mean squared error at the targets' slots;
- each is a sum divided by `count`, which is that of a whole optimiser step where a batch is one of its micro-batches
  (as in transformers' `num_items_in_batch`), so that the gradient does not depend on how the step is cut;
- align: the symmetric contrastive loss of CLIP (Radford et al. 2021), for the stage that binds the encoders.
The diffusion loss lives with the decoders.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

NO_LOSS = -100


def token_loss(logits: torch.Tensor, labels: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """Cross-entropy of logits (M, V) against labels (M,), summed and divided by `count` (M where left out); zero, with
    a graph, where M is 0."""
    if len(labels) == 0:
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, reduction="sum") / (count or len(labels))


def cosine_loss(predicted: torch.Tensor, true: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """1 - cosine over the last axis, a mean for each row of the first axis; summed and divided by `count`."""
    apart = 1.0 - F.cosine_similarity(predicted.float(), true.float(), dim=-1)
    return row_mean(apart[:, None], count)


def mse_loss(predicted: torch.Tensor, true: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """Squared error per coordinate, a mean for each row of the first axis; summed and divided by `count`."""
    return row_mean((predicted.float() - true.float()).square(), count)


def row_mean(values: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """Values (N, ...): a mean for each row, summed over the rows and divided by `count` (N where left out)."""
    return values.flatten(1).mean(dim=1).sum() / (count or len(values))


def align_loss(
    left: torch.Tensor,
    right: torch.Tensor,
    log_temperature: torch.Tensor,
    left_groups: torch.Tensor | None = None,
    max_scale: float = 100.0,
) -> torch.Tensor:
    """Symmetric contrastive loss of pairs (N, D), (N, D); row i of one belongs to row i of the other.

    `left_groups` (N,) names rows that mean the same (one caption drawn in several styles, say): they are no negatives
    of each other. `log_temperature` is the log of the factor on the cosines, kept at most `max_scale` as in CLIP.
    Raises ValueError for fewer than two pairs.
    """
    if left.shape != right.shape or len(left) < 2:
        raise ValueError(
            f"align loss: pairs of shape {tuple(left.shape)} and {tuple(right.shape)}, need equal and N >= 2"
        )
    scale = log_temperature.exp().clamp(max=max_scale)
    cosines = F.normalize(left.float(), dim=-1) @ F.normalize(right.float(), dim=-1).T
    logits = cosines * scale
    if left_groups is not None:
        same = left_groups[:, None] == left_groups[None, :]
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(len(left), device=left.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
