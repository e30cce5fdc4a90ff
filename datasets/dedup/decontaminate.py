"""Which assets are near an item of an evaluation set, and so must not be trained on.

Both sides are `Items` of one modality with whatever signals they have; each method runs where both have what it needs.
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

NGRAM = 13  # words in a row that no two texts share by chance (GPT-3, Brown et al. 2020, appendix C)


@dataclass(frozen=True)
class Items:
    """Media of one modality, as their signals tell of them: arrays with one row for each id, None where not measured."""

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
    """From where on an asset counts as near."""

    limits: perceptual.Limits = perceptual.LOOSE
    cosine: float = 0.95
    jaccard: float = 0.8
    shared_runs: float = 0.0  # share of the shorter text's runs of 13 words; one is enough with 0


# A false alarm costs one of many training samples, a leak the worth of the figure: no `same_detail` here. Cosines are
# where pairs found by their looks or sound lie (95 % above) and, with sounds, where unlike ones end (voices: 0.98).
THRESHOLDS = {
    "image": Thresholds(cosine=0.96),
    "video": Thresholds(),
    "audio": Thresholds(perceptual.SOUND, cosine=0.99),
    "text": Thresholds(),
}


class Match(NamedTuple):
    asset: int  # its place among the assets
    item: int  # its place in the evaluation set
    method: str  # exact, perceptual, embedding, minhash or ngram
    score: float  # 1 is the same; for the methods in order: 1, share of equal bits, cosine, Jaccard, share of runs


def matches(assets: Items, evaluation: Items, thresholds: Thresholds) -> list[Match]:
    """Every asset and evaluation item that are near, by each method that finds them, sorted.

    `thresholds` are those of the modality, from `THRESHOLDS`, or one's own.
    """
    found = [*exact(assets, evaluation)]
    found += looks(assets, evaluation, thresholds.limits)
    if assets.embeddings is not None and evaluation.embeddings is not None:
        pairs, scores = semantic.matches(assets.embeddings, evaluation.embeddings, thresholds.cosine)
        found += rows("embedding", pairs, scores)
    if assets.signatures is not None and evaluation.signatures is not None:
        pairs, scores = minhash.matches(assets.signatures, evaluation.signatures, thresholds.jaccard)
        found += rows("minhash", pairs, scores)
    found += shared_runs(assets.texts or (), evaluation.texts or (), thresholds.shared_runs)
    return sorted(found)


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
    """Texts that have 13 words in a row in common. Shorter texts have no such run: MinHash finds them."""
    where: dict[str, list[int]] = defaultdict(list)
    lengths = []
    for place, text in enumerate(others):
        found = long_runs(text)
        lengths.append(len(found))
        for run in found:
            where[run].append(place)
    for asset, text in enumerate(texts):
        found = long_runs(text)
        shared: dict[int, int] = defaultdict(int)
        for run in found:
            for place in where.get(run, ()):
                shared[place] += 1
        for place, count in shared.items():
            score = count / min(len(found), lengths[place])
            if score >= least:
                yield Match(asset, place, "ngram", score)


def long_runs(text: str) -> set[str]:
    found = runs(plain(text), NGRAM)
    return set(found) if len(found) > 1 or (found and found[0].count(" ") == NGRAM - 1) else set()
