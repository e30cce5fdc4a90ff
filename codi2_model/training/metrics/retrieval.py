"""Feature retrieval: accuracy of finding the own target of a predicted feature among other targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

OTHERS = 10


@dataclass(frozen=True)
class Retrieval:
    """Accuracy of `n` predictions, and chance accuracy."""

    accuracy: float
    n: int
    chance: float


def rank_first(predicted: torch.Tensor, true: torch.Tensor, seed: int = 0, others: int = OTHERS) -> Retrieval:
    """Rank each row of `predicted` (N, D) against its own target in `true` (N, D) and `others` random other targets.

    Targets equal to the own one are not candidates. If fewer than `others` remain, all are used; chance is the mean over
    the predictions. A tie counts as wrong. Raises ValueError for fewer than two different targets.
    """
    with torch.autocast(predicted.device.type, enabled=False):  # bfloat16 would round close values to ties
        similar = (F.normalize(predicted.float(), dim=-1) @ F.normalize(true.float(), dim=-1).T).cpu().numpy()
    apart = torch.cdist(true.float(), true.float(), compute_mode="donot_use_mm_for_euclid_dist")  # exact for equal rows
    same = (apart < 1e-4 * true.float().norm(dim=-1).mean()).cpu().numpy()
    rng = np.random.default_rng(seed)
    right, chances = [], []
    for row in range(len(similar)):
        rest = np.flatnonzero(~same[row])
        if rest.size == 0:
            continue
        negatives = rng.permutation(rest)[:others]
        right.append(similar[row, row] > similar[row, negatives].max())
        chances.append(1.0 / (1 + negatives.size))
    if not chances:
        raise ValueError("feature retrieval needs at least two different targets")
    return Retrieval(float(np.mean(right)), len(right), float(np.mean(chances)))
