"""Near-duplicates and nearest neighbours by the cosine of embeddings, over all pairs, in blocks.

Candidates are found in float32. What is kept, and in which order, is decided in float64, because the last digits of a
float32 product depend on the processor and the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codi2_datasets.dedup.pairs import Pairs, ordered

BLOCK = 512  # rows at a time: 90 MB of cosines with 45,000 items
COLUMNS = 64  # columns in a group that is represented by its largest cosine
SPARE = 8  # extra candidates, because float32 may order them slightly differently
MARGIN = 1e-4
DIGITS = 6


def unit(rows: np.ndarray) -> NDArray[np.float32]:
    """(N, D) rows scaled to length 1. A row of zeros is unchanged; its cosine with everything is 0."""
    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.maximum(length, 1e-12)).astype(np.float32)


def near_duplicates(embeddings: np.ndarray, min_cosine: float) -> Pairs:
    """(N, D) embeddings of any length -> the pairs whose cosine is at least `min_cosine`."""
    rows = unit(embeddings)
    kept = []
    for start, block in products(rows):
        pairs = np.argwhere(block >= min_cosine - MARGIN) + np.array([start, 0])
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        kept.append(pairs[cosines(rows, rows, pairs) >= min_cosine])
    return ordered(kept)


def products(rows: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The cosines of some rows with all: (first row, (M, N) array), which is valid until the next one is requested.

    All blocks share the same memory: allocating new memory takes longer than the products.
    """
    memory = np.empty((min(BLOCK, len(rows)), len(rows)), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        own = rows[start : start + BLOCK]
        yield start, np.matmul(own, rows.T, out=memory[: len(own)])


def matches(embeddings: np.ndarray, others: np.ndarray, min_cosine: float) -> tuple[Pairs, NDArray[np.float64]]:
    """Pairs between two lists (index, index among the others) with a cosine of at least `min_cosine`, and their
    cosines.
    """
    rows, columns = unit(embeddings), unit(others)
    near = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(rows), BLOCK):
        near.append(np.argwhere(rows[start : start + BLOCK] @ columns.T >= min_cosine - MARGIN) + np.array([start, 0]))
    pairs = np.concatenate(near)
    scores = cosines(rows, columns, pairs)
    return pairs[scores >= min_cosine], scores[scores >= min_cosine]


def cosines(rows: NDArray[np.float32], columns: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float64]:
    """The cosines of pairs, to six digits."""
    scores = np.empty(len(pairs))
    for start in range(0, len(pairs), 100_000):
        lot = pairs[start : start + 100_000]
        products = rows[lot[:, 0]].astype(np.float64) * columns[lot[:, 1]]
        scores[start : start + len(lot)] = products.sum(axis=1)
    return np.round(scores, DIGITS)


def neighbours(embeddings: np.ndarray, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, D) -> (N, k) indices of the k nearest others, nearest first and then by index, and (N, k) their cosines.

    k is limited to N - 1. 45,000 rows of 128 numbers took 5 s on two cores, 9 s on one.
    """
    rows = unit(embeddings)
    count = len(rows)
    k = max(0, min(k, count - 1))
    indices, scores = np.empty((count, k), dtype=np.int64), np.empty((count, k))
    for start, block in products(rows) if k else ():
        own = np.arange(start, start + len(block))
        block[own - start, own] = -np.inf
        candidates = largest(block, min(k + SPARE, count - 1))
        pairs = np.stack([np.repeat(own, candidates.shape[1]), candidates.reshape(-1)], axis=1)
        exact = cosines(rows, rows, pairs).reshape(candidates.shape)
        best = np.lexsort((candidates, -exact), axis=1)[:, :k]
        indices[own], scores[own] = np.take_along_axis(candidates, best, 1), np.take_along_axis(exact, best, 1)
    return indices, scores


def largest(block: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(M, N) -> (M, k) columns of the k largest numbers of each row, in no given order.

    They lie in the k groups of columns with the largest maxima, so only those groups, and the columns left over at the
    end, are searched.
    """
    rows, width = block.shape
    groups = width // COLUMNS
    if groups <= k:
        return top(block, k)
    grouped = block[:, : groups * COLUMNS].reshape(rows, COLUMNS, groups)  # column c is in group c % groups
    best = top(grouped.max(axis=1), k)
    inside = (best[:, None, :] + np.arange(COLUMNS)[:, None] * groups).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(groups * COLUMNS, width), (rows, width - groups * COLUMNS))
    columns = np.concatenate([inside, rest], axis=1)
    return np.take_along_axis(columns, top(np.take_along_axis(block, columns, 1), k), 1)


def top(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(M, N) -> (M, k) positions of the k largest numbers of each row."""
    return np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
