"""Where samples lie in a tar: one number a sample stays in memory, the rest is read from the headers when it is asked for.

Python's own tar reader makes an object a member, which takes minutes and gigabytes where there are a thousand shards of a
thousand samples; here the headers are followed by their sizes alone, and their checksums are added up all at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import overload

import numpy as np

BLOCK = 512
REGULAR, EXTENDED = b"0\0", b"xgLKS"  # types of members: files, and those that change what the next header says


class ShardError(ValueError):
    """A shard cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Record:
    """Where one sample lies."""

    shard: int
    key: str
    json: Span
    media: dict[str, Span]
    """Member name without the key ("003.webp") -> bytes in the shard."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    header: int
    span: Span


def members(data: mmap | bytes, path: str, start: int = 0, stop: int | None = None) -> Iterator[Member]:
    """The files between two headers, in their order; to the end of the archive where no end is named.

    Raises ShardError where there is no header, where a file is cut off, and where the archive's end is missing.
    """
    size = len(data)
    while stop is None or start < stop:
        header = data[start : start + BLOCK]
        if len(header) < BLOCK:
            raise ShardError(f"{path}: cut off at byte {size:,}; write the shard again")
        if header[0] == 0 and not any(header):
            return
        if header[257:262] != b"ustar" or header[156:157] in EXTENDED:
            raise ShardError(f"{path}: not a whole tar (no plain header at byte {start:,}); write the shard again")
        name = header[:100].rstrip(b"\0").decode(errors="replace")
        if header[345]:
            name = header[345:500].rstrip(b"\0").decode(errors="replace") + "/" + name
        try:
            length = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            raise ShardError(f"{path}: not a whole tar (no size of {name}); write the shard again") from None
        span = Span(start + BLOCK, start + BLOCK + length)
        if span.stop > size:
            raise ShardError(f"{path}: cut off within {name}; write the shard again")
        if header[156:157] in REGULAR:
            yield Member(name, start, span)
        start = span.stop + -length % BLOCK


def sample_starts(data: mmap | bytes, path: str) -> np.ndarray:
    """Where each sample's JSON has its header, and at last where the samples end: int64 (samples + 1,).

    The members of a sample are adjacent, its JSON first. Raises ShardError for a tar that is broken, or not so.
    """
    starts: list[int] = []
    headers: list[int] = []
    end, current = 0, None
    for member in members(data, path):
        key, _, rest = member.name.partition(".")
        if rest == "json":
            starts.append(member.header)
            current = key
        elif key != current:
            raise ShardError(f"{path}: {member.name} does not follow {key}.json")
        headers.append(member.header)
        end = member.span.stop + (member.span.start - member.span.stop) % BLOCK
    check_sums(data, headers, path)
    return np.array([*starts, end], np.int64)


def check_sums(data: mmap | bytes, headers: Sequence[int], path: str) -> None:
    """Raises ShardError for a header whose bytes do not add up to what it says: bytes 148 to 156, counted as spaces."""
    if not headers:
        return
    view = np.frombuffer(data, np.uint8)
    blocks = view[np.array(headers)[:, None] + np.arange(BLOCK)]
    said = [int(bytes(block).split(b"\0")[0].strip() or b"0", 8) for block in blocks[:, 148:156]]
    sums = blocks.sum(1, dtype=np.int64) - blocks[:, 148:156].sum(1, dtype=np.int64) + 8 * ord(" ")
    wrong = np.flatnonzero(sums != np.array(said))
    if len(wrong):
        raise ShardError(f"{path}: not a whole tar (bad header at byte {headers[wrong[0]]:,}); write the shard again")


def record_at(data: mmap | bytes, path: str, shard: int, start: int, stop: int) -> Record:
    first, *rest = members(data, path, start, stop)
    key = first.name.partition(".")[0]
    return Record(shard, key, first.span, {member.name.partition(".")[2]: member.span for member in rest})


class Records(Sequence[Record]):
    """The samples of one task and split over many shards, read from their headers as they are asked for."""

    def __init__(self, read: Callable[[int, int, int], Record]) -> None:
        self._read = read
        self._shards: list[int] = []
        self._starts: list[np.ndarray] = []
        self._ends: list[int] = []  # samples up to and with each shard

    def add(self, shard: int, starts: np.ndarray) -> None:
        self._shards.append(shard)
        self._starts.append(starts)
        self._ends.append(len(self) + len(starts) - 1)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = bisect_right(self._ends, index)
        starts = self._starts[place]
        within = index - (self._ends[place] - len(starts) + 1)
        return self._read(self._shards[place], int(starts[within]), int(starts[within + 1]))
