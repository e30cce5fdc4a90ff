"""Feature retrieval: accuracy of finding the own target of a predicted feature among other targets.

Training and evaluation share this score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from codi2_model.evaluation.statistics import binomial_p

OTHERS = 10


@dataclass(frozen=True)
class Retrieval:
    """Accuracy of `n` predictions, chance accuracy, and p-value of the exact one-sided binomial test against chance.

    right: number of each prediction that had other candidates, and whether it ranked its own target first.
    """

    accuracy: float
    n: int
    chance: float
    p_value: float
    right: tuple[tuple[int, bool], ...] = ()


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
    right: list[tuple[int, bool]] = []
    chances = []
    for row in range(len(similar)):
        rest = np.flatnonzero(~same[row])
        if rest.size == 0:
            continue
        negatives = rng.permutation(rest)[:others]
        right.append((row, bool(similar[row, row] > similar[row, negatives].max())))
        chances.append(1.0 / (1 + negatives.size))
    if not chances:
        raise ValueError("feature retrieval needs at least two different targets")
    chance, hits = float(np.mean(chances)), sum(hit for _, hit in right)
    return Retrieval(hits / len(right), len(right), chance, binomial_p(hits, len(right), chance), tuple(right))


def feature_retrieval(
    model: Any,
    processor: Any,
    conversations: Sequence[list[dict[str, Any]]],
    seed: int = 0,
    batch_size: int = 32,
    others: int = OTHERS,
) -> Retrieval:
    """Predict and rank the features of every target medium of conversations of one task and modality.

    conversations: messages whose media parts have a `value`, as the processor takes them.
    In the result, `right` has the number of the conversation, once for each of its targets.
    Raises ValueError if no conversation has a target medium.
    """
    from codi2_model.generation.conversations import predict_features

    predicted, true, owners = [], [], []
    for start in range(0, len(conversations), batch_size):
        features, targets = predict_features(model, processor, conversations[start : start + batch_size])
        predicted += [rows for rows in features if len(rows)]
        owners += [start + number for number, rows in enumerate(features) for _ in range(len(rows))]
        true += [rows for rows in targets if len(rows)]
    if not predicted:
        raise ValueError("feature retrieval: no conversation has a target medium")
    retrieval = rank_first(torch.cat(predicted), torch.cat(true), seed, others)
    return replace(retrieval, right=tuple((owners[row], hit) for row, hit in retrieval.right))
