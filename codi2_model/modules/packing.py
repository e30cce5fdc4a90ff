"""Sequence packing: assign several samples to one row, to avoid padding."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def pack(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Assign samples to few rows of at most `limit` tokens and similar length. Returns the sample numbers of each row.

    Longest first, each into the shortest row (LPT, Graham 1969); if a row overflows, retry with one more row. Rows are in
    the order of their first samples. Raises ValueError for a sample longer than `limit`.
    """
    if any(length > limit for length in lengths):
        raise ValueError(f"a sample of {max(lengths)} tokens does not fit a row of {limit}")
    count = max(1, -(-sum(lengths) // limit))
    while True:
        rows = _assign(lengths, count)
        if all(sum(lengths[n] for n in row) <= limit for row in rows):
            return sorted(sorted(row) for row in rows if row)
        count += 1


def _assign(lengths: Sequence[int], count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, row) for row in range(count)]
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        filled, row = heapq.heappop(heap)
        rows[row].append(number)
        heapq.heappush(heap, (filled + lengths[number], row))
    return rows
