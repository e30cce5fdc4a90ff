"""Index of the samples of a tar: one offset per sample in memory; headers are read on access.

Python's `tarfile` creates an object per member, which takes minutes and gigabytes for a thousand shards of a thousand
samples. Here the headers are followed by their sizes only, and all checksums are verified in one vectorised operation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import overload

import numpy as np

BLOCK = 512
REGULAR, EXTENDED = b"0\0", b"xgLKS"  # member types: files; extensions that modify the next header


class ShardError(ValueError):
    """A shard is broken or unsupported; the message names the file."""


@dataclass(frozen=True, slots=True)
class Span:
    """Byte range [start, stop) in a shard."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Record:
    """Location of a sample: shard number, key, and byte ranges of its members."""

    shard: int
    key: str
    json: Span
    media: dict[str, Span]
    """Member name without the key ("003.webp") -> byte range in the shard."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: name, offset of its header, byte range of its content."""

    name: str
    header: int
    span: Span


def members(data: mmap | bytes, path: str, start: int = 0, stop: int | None = None) -> Iterator[Member]:
    """The files between two header offsets, in order; `stop` None: to the end of the archive.

    Raises ShardError for an invalid header, a truncated file, or a missing end of the archive.
    """
    size = len(data)
    while stop is None or start < stop:
        header = data[start : start + BLOCK]
        if len(header) < BLOCK:
            raise ShardError(f"{path}: truncated at byte {size:,}; write the shard again")
        if header[0] == 0 and not any(header):
            return
        if header[257:262] != b"ustar" or header[156:157] in EXTENDED:
            raise ShardError(
                f"{path}: broken or unsupported tar (no plain ustar header at byte {start:,}); write the shard again"
            )
        name = header[:100].rstrip(b"\0").decode(errors="replace")
        if header[345]:
            name = header[345:500].rstrip(b"\0").decode(errors="replace") + "/" + name
        try:
            length = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            raise ShardError(f"{path}: broken tar (invalid size of {name}); write the shard again") from None
        span = Span(start + BLOCK, start + BLOCK + length)
        if span.stop > size:
            raise ShardError(f"{path}: truncated within {name}; write the shard again")
        if header[156:157] in REGULAR:
            yield Member(name, start, span)
        start = span.stop + -length % BLOCK


def sample_starts(data: mmap | bytes, path: str) -> np.ndarray:
    """Header offsets of the samples' JSON members, and the end of the last sample: int64 (samples + 1,).

    The members of a sample must be adjacent, with the JSON first. Raises ShardError for another order or a broken tar.
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
            raise ShardError(f"{path}: {member.name} does not follow {key}.json; write the shard again")
        headers.append(member.header)
        end = member.span.stop + (member.span.start - member.span.stop) % BLOCK
    check_sums(data, headers, path)
    return np.array([*starts, end], np.int64)


def check_sums(data: mmap | bytes, headers: Sequence[int], path: str) -> None:
    """Verify the header checksums (bytes 148 to 156, which count as spaces in the sum). Raises ShardError for a wrong one."""
    if not headers:
        return
    view = np.frombuffer(data, np.uint8)
    blocks = view[np.array(headers)[:, None] + np.arange(BLOCK)]
    stated = [int(bytes(block).split(b"\0")[0].strip() or b"0", 8) for block in blocks[:, 148:156]]
    sums = blocks.sum(1, dtype=np.int64) - blocks[:, 148:156].sum(1, dtype=np.int64) + 8 * ord(" ")
    wrong = np.flatnonzero(sums != np.array(stated))
    if len(wrong):
        raise ShardError(
            f"{path}: broken tar (wrong checksum of the header at byte {headers[wrong[0]]:,}); write the shard again"
        )


def record_at(data: mmap | bytes, path: str, shard: int, start: int, stop: int) -> Record:
    """Read the record of the sample between two offsets."""
    first, *rest = members(data, path, start, stop)
    key = first.name.partition(".")[0]
    return Record(shard, key, first.span, {member.name.partition(".")[2]: member.span for member in rest})


class Records(Sequence[Record]):
    """Records of the samples of one task and split over many shards, read from the tar headers on access."""

    def __init__(self, read: Callable[[int, int, int], Record]) -> None:
        self._read = read
        self._shards: list[int] = []
        self._starts: list[np.ndarray] = []
        self._ends: list[int] = []  # number of samples up to the end of each shard

    def add(self, shard: int, starts: np.ndarray) -> None:
        """Append a shard with the offsets from `sample_starts`."""
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
        position = bisect_right(self._ends, index)
        starts = self._starts[position]
        within = index - (self._ends[position] - len(starts) + 1)
        return self._read(self._shards[position], int(starts[within]), int(starts[within + 1]))
