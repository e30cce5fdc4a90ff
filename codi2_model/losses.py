"""The losses, each a plain function.

- tokens: cross-entropy where a label stands; - features: 1 - cosine and mean squared error at the targets' slots;
- align: the symmetric contrastive loss of CLIP (Radford et al. 2021), for the stage that binds the encoders.
The diffusion loss lives with the decoders.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

NO_LOSS = -100


def token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of logits (M, V) against labels (M,); zero (with a graph) where M is 0."""
    if len(labels) == 0:
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels)


def cosine_loss(predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cosine over the last axis."""
    return (1.0 - F.cosine_similarity(predicted.float(), true.float(), dim=-1)).mean()


def mse_loss(predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean squared error per coordinate."""
    return F.mse_loss(predicted.float(), true.float())


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
