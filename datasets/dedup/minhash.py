"""Near-duplicate texts by MinHash signatures (Broder 1997), compared by the share of places in which they agree.

That share estimates the Jaccard similarity of the texts' shingles, with a standard error of at most 1/16 for 64
places.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from codi2_datasets.dedup.pairs import Pairs, agreeing, ordered

PLACES = 64
BLOCK = 256


def signature(shingles: Sequence[str]) -> NDArray[np.uint32]:
    """(64,): the minimum hash of all shingles under each of 64 hash functions; all bits set if there are none."""
    if not shingles:
        return np.full(PLACES, 2**32 - 1, dtype=np.uint32)
    keys = np.array([hash_of(shingle, 4) for shingle in set(shingles)], dtype=np.uint64)
    factors, terms = functions()
    # multiply-shift (Dietzfelbinger 1996): overflow is intended, the upper half of the 64 bits is the hash
    return ((keys[:, None] * factors + terms) >> np.uint64(32)).min(axis=0).astype(np.uint32)


@cache
def functions() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Factors and terms of the hash functions, from a digest, because random generators change with their library."""
    numbers = [[hash_of(f"{kind} {place}", 8) for place in range(PLACES)] for kind in ("factor", "term")]
    return np.array(numbers[0], dtype=np.uint64), np.array(numbers[1], dtype=np.uint64)


def hash_of(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest(), "big")


def as_words(signature: NDArray[np.uint32]) -> str:
    """512 hexadecimal digits."""
    return signature.astype(">u4").tobytes().hex()


def signatures(words: Sequence[str]) -> NDArray[np.uint32]:
    """Strings of `as_words` -> (N, 64)."""
    raw = np.frombuffer(bytes.fromhex("".join(words)), dtype=">u4")
    return raw.reshape(len(words), PLACES).astype(np.uint32)


def near_duplicates(signatures: NDArray[np.uint32], min_jaccard: float = 0.8) -> Pairs:
    """Pairs of (N, 64) signatures that agree in at least that share of places. Exact: every such pair is found."""
    needed = places_needed(min_jaccard)
    bands = 1  # one more than the places that may differ, so that at least one whole band agrees
    while bands <= PLACES - needed:
        bands *= 2
    columns = banded(signatures, bands)
    kept = []
    for pairs in agreeing(columns):
        for start in range(0, len(pairs), 100_000):
            lot = pairs[start : start + 100_000]
            kept.append(lot[(signatures[lot[:, 0]] == signatures[lot[:, 1]]).sum(axis=1) >= needed])
    return ordered(kept)


def banded(signatures: NDArray[np.uint32], bands: int) -> NDArray[np.int64]:
    """(N, 64) -> (N, bands): equal numbers if all places of a band are equal."""
    parts = np.ascontiguousarray(signatures).reshape(len(signatures), bands, PLACES // bands)
    columns = [np.unique(parts[:, band], axis=0, return_inverse=True)[1].reshape(-1) for band in range(bands)]
    return np.stack(columns, axis=1).astype(np.int64)


def matches(
    signatures: NDArray[np.uint32], others: NDArray[np.uint32], min_jaccard: float = 0.8
) -> tuple[Pairs, NDArray[np.float64]]:
    """Near-duplicates between two lists: pairs (index, index among the others), and their estimated Jaccard similarity."""
    needed = places_needed(min_jaccard)
    near, scores = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0)]
    for start in range(0, len(signatures), BLOCK):
        same = np.zeros((len(signatures[start : start + BLOCK]), len(others)), dtype=np.int16)
        for place in range(PLACES):
            same += signatures[start : start + BLOCK, place, None] == others[:, place]
        pairs = np.argwhere(same >= needed)
        near.append(pairs + np.array([start, 0]))
        scores.append(same[pairs[:, 0], pairs[:, 1]] / PLACES)
    return np.concatenate(near), np.concatenate(scores)


def places_needed(min_jaccard: float) -> int:
    if not 0 < min_jaccard <= 1:
        raise ValueError(f"min_jaccard is {min_jaccard}, and not above 0 and up to 1")
    return int(np.ceil(min_jaccard * PLACES - 1e-9))
