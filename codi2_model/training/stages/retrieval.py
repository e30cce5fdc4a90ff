"""Does a predicted feature lie nearest its own target? The score that a training run and an evaluation share."""

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
    """`n` predictions; chance is that of a blind guess; p_value of the exact one-sided binomial test against it.

    `right`: of each prediction that had rivals, its number and whether it was right.
    """

    accuracy: float
    n: int
    chance: float
    p_value: float
    right: tuple[tuple[int, bool], ...] = ()


def rank_first(predicted: torch.Tensor, true: torch.Tensor, seed: int = 0, others: int = OTHERS) -> Retrieval:
    """Each row of `predicted` (N, D) against its own target in `true` (N, D) and `others` random other targets.

    Candidates equal to the own target are no candidates, and where fewer than `others` are left, all of them are used
    (chance is then their mean chance). A tie counts as wrong. Raises ValueError for fewer than two different targets.
    """
    with torch.autocast(predicted.device.type, enabled=False):  # bfloat16 rounds near ones to ties
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
        rivals = rng.permutation(rest)[:others]
        right.append((row, bool(similar[row, row] > similar[row, rivals].max())))
        chances.append(1.0 / (1 + rivals.size))
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
    """Predict the features of every target medium of conversations of one task and modality, and rank them.

    `right` of what is returned counts by conversation: one with several targets occurs as often.
    conversations: messages with media parts that carry `value`, as the processor takes them.
    """
    from codi2_model.generation.conversations import predict_features

    predicted, true, owners = [], [], []
    for start in range(0, len(conversations), batch_size):
        guessed, right = predict_features(model, processor, conversations[start : start + batch_size])
        predicted += [rows for rows in guessed if len(rows)]
        owners += [start + number for number, rows in enumerate(guessed) for _ in range(len(rows))]
        true += [rows for rows in right if len(rows)]
    if not predicted:
        raise ValueError("feature retrieval: no conversation has a target medium")
    found = rank_first(torch.cat(predicted), torch.cat(true), seed, others)
    return replace(found, right=tuple((owners[row], hit) for row, hit in found.right))
