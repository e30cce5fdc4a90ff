"""Pairs of items that agree in at least one of several columns, in canonical order, and the groups they form.

Two hashes of B words that differ in fewer than B places agree in a whole word (the pigeonhole principle), so the search
is exact and compares few pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy  # loads its parts on first use
from numpy.typing import NDArray

Pairs = NDArray[np.int64]
"""(N, 2) indices of items, i < j in each row, rows sorted."""

AT_ONCE = 4_000_000  # pairs compared at once: about 100 MB


def agreeing(columns: np.ndarray) -> Iterator[Pairs]:
    """(N, B) integers -> every pair of rows that are equal in some column, once each, in chunks in no given order."""
    for band in range(columns.shape[1]):
        for pairs in equal(columns[:, band]):
            before = columns[:, :band]
            seen = (before[pairs[:, 0]] == before[pairs[:, 1]]).any(axis=1)
            yield pairs[~seen]


def equal(values: np.ndarray) -> Iterator[Pairs]:
    """(N,) -> every pair i < j of positions with equal values, in chunks of bounded size."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = np.searchsorted(ordered, ordered, side="right")
    partners = ends - np.arange(len(values)) - 1  # each item is paired with those that follow it in its group
    total = np.cumsum(partners)
    start = 0
    while start < len(values):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + AT_ONCE, side="right")))
        counts = partners[start:stop]
        first = np.repeat(np.arange(start, stop), counts)
        step = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        if len(first):
            yield np.stack([order[first], order[first + 1 + step]], axis=1)
        start = stop


def ordered(lots: list[Pairs]) -> Pairs:
    """Chunks of pairs as one array in canonical order."""
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *lots])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def groups(count: int, pairs: np.ndarray) -> NDArray[np.int64]:
    """(M, 2) pairs among `count` items -> (count,) the first item of each item's group; the item itself if it is alone."""
    links = scipy.sparse.coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = scipy.sparse.csgraph.connected_components(links, directed=False)
    _, first = np.unique(labels, return_index=True)
    return first[labels].astype(np.int64)
