"""Loss functions: token cross-entropy, feature cosine and squared error, contrastive alignment.

- Token and feature losses are sums divided by `count`, the count of a whole optimiser step if the batch is one of its
  micro-batches (as `num_items_in_batch` in transformers). The gradient then does not depend on how the step is split.
- `align_loss` is the symmetric contrastive loss of CLIP (Radford et al. 2021), for the stage `align`.
- The diffusion loss is in `codi2_model.decoders.diffusion`.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

NO_LOSS = -100


def token_loss(logits: torch.Tensor, labels: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """Cross-entropy of logits (M, V) and labels (M,), summed and divided by `count` (default M).

    For M = 0 the loss is zero, with a graph.
    """
    if len(labels) == 0:
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, reduction="sum") / (count or len(labels))


def cosine_loss(predicted: torch.Tensor, true: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """1 - cosine over the last axis, averaged per row of the first axis, summed and divided by `count` (default: rows)."""
    distance = 1.0 - F.cosine_similarity(predicted.float(), true.float(), dim=-1)
    return row_mean(distance[:, None], count)


def mse_loss(predicted: torch.Tensor, true: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """Squared error per coordinate, averaged per row of the first axis, summed and divided by `count` (default: rows)."""
    return row_mean((predicted.float() - true.float()).square(), count)


def row_mean(values: torch.Tensor, count: float | None = None) -> torch.Tensor:
    """Values (N, ...): mean per row, summed over the rows and divided by `count` (default N)."""
    return values.flatten(1).mean(dim=1).sum() / (count or len(values))


def align_loss(
    left: torch.Tensor,
    right: torch.Tensor,
    log_temperature: torch.Tensor,
    left_groups: torch.Tensor | None = None,
    max_scale: float = 100.0,
) -> torch.Tensor:
    """Symmetric contrastive loss of pairs (N, D), (N, D); row i of `left` belongs to row i of `right`.

    left_groups (N,): rows with equal numbers (such as one caption in several styles) are not negatives of each other.
    log_temperature: log of the factor on the cosines, limited to `max_scale` as in CLIP.
    Raises ValueError for fewer than two pairs.
    """
    if left.shape != right.shape or len(left) < 2:
        raise ValueError(
            f"align loss: pairs have shapes {tuple(left.shape)} and {tuple(right.shape)}, expected equal ones with N >= 2"
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
