"""Decontamination: finds assets near an item of an evaluation set, which must not be trained on.

Both sides are `Items` of one modality with the signals they have. Each method runs if both sides have its signals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codi2_datasets.dedup import minhash, perceptual, semantic
from codi2_datasets.media.text import plain, runs

NGRAM = 13  # consecutive words that no two texts share by chance (GPT-3, Brown et al. 2020, appendix C)


@dataclass(frozen=True)
class Items:
    """Media of one modality with their signals: arrays with one row per id, None if not measured."""

    ids: Sequence[str]
    hashes: NDArray[np.uint64] | None = None  # (N,): `phash` or `fingerprint`
    thumbs: NDArray[np.float32] | None = None  # (N, D): `thumb` or `sound_thumb`
    embeddings: NDArray[np.float32] | None = None  # (N, D)
    signatures: NDArray[np.uint32] | None = None  # (N, 64): `minhash`
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("hashes", "thumbs", "embeddings", "signatures", "texts"):
            rows = getattr(self, name)
            if rows is not None and len(rows) != len(self.ids):
                raise ValueError(f"{len(self.ids)} ids, but {len(rows)} {name}")


@dataclass(frozen=True)
class Thresholds:
    """Limits within which an asset counts as near."""

    limits: perceptual.Limits = perceptual.LOOSE
    cosine: float = 0.95
    jaccard: float = 0.8
    shared_runs: float = 0.0  # share of the shorter text's runs of 13 words; with 0, one run is enough


# A false alarm costs one of many training samples, a leak invalidates the metric: so `same_detail` is not used. The
# cosines are those at which perceptual near-duplicates lie (95 % above) and, for audio, at which unlike ones end
# (voices: 0.98).
THRESHOLDS = {
    "image": Thresholds(cosine=0.96),
    "video": Thresholds(),
    "audio": Thresholds(perceptual.SOUND, cosine=0.99),
    "text": Thresholds(),
}


class Match(NamedTuple):
    asset: int  # index among the assets
    item: int  # index in the evaluation set
    method: str  # exact, perceptual, embedding, minhash or ngram
    score: float  # 1 is identical; by method in that order: 1, share of equal bits, cosine, Jaccard, share of runs


def matches(assets: Items, evaluation: Items, thresholds: Thresholds) -> list[Match]:
    """All pairs of asset and evaluation item that are near, one per method that finds them, sorted.

    `thresholds`: those of the modality in `THRESHOLDS`, or custom ones.
    """
    near = [*exact(assets, evaluation)]
    near += looks(assets, evaluation, thresholds.limits)
    if assets.embeddings is not None and evaluation.embeddings is not None:
        pairs, scores = semantic.matches(assets.embeddings, evaluation.embeddings, thresholds.cosine)
        near += rows("embedding", pairs, scores)
    if assets.signatures is not None and evaluation.signatures is not None:
        pairs, scores = minhash.matches(assets.signatures, evaluation.signatures, thresholds.jaccard)
        near += rows("minhash", pairs, scores)
    near += shared_runs(assets.texts or (), evaluation.texts or (), thresholds.shared_runs)
    return sorted(near)


def exact(assets: Items, evaluation: Items) -> Iterator[Match]:
    places = defaultdict(list)
    for place, name in enumerate(evaluation.ids):
        places[name].append(place)
    for asset, name in enumerate(assets.ids):
        for item in places.get(name, ()):
            yield Match(asset, item, "exact", 1.0)


def looks(assets: Items, evaluation: Items, limits: perceptual.Limits) -> list[Match]:
    if assets.hashes is None or assets.thumbs is None or evaluation.hashes is None or evaluation.thumbs is None:
        return []
    pairs = perceptual.matches(assets.hashes, assets.thumbs, evaluation.hashes, evaluation.thumbs, limits)
    bits = np.bitwise_count(assets.hashes[pairs[:, 0]] ^ evaluation.hashes[pairs[:, 1]])
    return rows("perceptual", pairs, 1.0 - bits / 64.0)


def rows(method: str, pairs: np.ndarray, scores: np.ndarray) -> list[Match]:
    return [Match(a, e, method, score) for (a, e), score in zip(pairs.tolist(), scores.tolist(), strict=True)]


def shared_runs(texts: Sequence[str], others: Sequence[str], least: float) -> Iterator[Match]:
    """Texts that share 13 consecutive words. Shorter texts have no such run; MinHash finds them."""
    where: dict[str, list[int]] = defaultdict(list)
    lengths = []
    for place, text in enumerate(others):
        ngrams = long_runs(text)
        lengths.append(len(ngrams))
        for run in ngrams:
            where[run].append(place)
    for asset, text in enumerate(texts):
        ngrams = long_runs(text)
        shared: dict[int, int] = defaultdict(int)
        for run in ngrams:
            for place in where.get(run, ()):
                shared[place] += 1
        for place, count in shared.items():
            score = count / min(len(ngrams), lengths[place])
            if score >= least:
                yield Match(asset, place, "ngram", score)


def long_runs(text: str) -> set[str]:
    every = runs(plain(text), NGRAM)
    return set(every) if len(every) > 1 or (every and every[0].count(" ") == NGRAM - 1) else set()
