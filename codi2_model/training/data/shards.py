"""Random access to the samples of local shard tars, and a cache of decoded media.

- Only the offset of each sample stays in memory (`tar_index.py`). Bytes are read on access, so a run can start at any
  sample and resume exactly, unlike with a streaming reader.
- Decoded media are cached by asset id, because the same image occurs in many samples.
- Errors for a broken tar, sample or medium name the shard and the member.
"""

from __future__ import annotations

import io
import mmap
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from PIL import Image

from codi2_datasets.formats.sample import SAMPLE_RATE, Part, Sample, SampleError
from codi2_model.training.data.tar_index import Record, Records, ShardError, Span, record_at, sample_starts
from codi2_storage.locations.paths import local_matches

__all__ = ["MediaCache", "Record", "ShardError", "ShardSet", "decode", "expand"]
MAX_OPEN_SHARDS = 400


def expand(patterns: Iterable[str | Path]) -> list[str]:
    """Expand paths and globs to sorted paths of existing files. An existing path is not expanded as a glob.

    Raises FileNotFoundError for a pattern without matches.
    """
    paths: set[str] = set()
    for pattern in patterns:
        matches = local_matches(str(pattern))
        if not matches:
            raise FileNotFoundError(f"{pattern}: no shard matches")
        paths.update(matches)
    return sorted(paths)


class ShardSet:
    """All samples of a list of shards, by (task, split). Raises ShardError for a broken shard."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = sorted(paths)
        self.samples: dict[tuple[str, str], Records] = {}
        self._maps: dict[int, mmap.mmap] = {}
        self._lock = threading.Lock()
        for shard, path in enumerate(self.paths):
            if Path(path).stat().st_size == 0:
                raise ShardError(f"{path}: empty file; write the shard again")
            starts = sample_starts(self._map(shard), path)
            if len(starts) > 1:  # a shard holds one task and one split
                first = self.sample(self._record(shard, int(starts[0]), int(starts[1])))
                self.samples.setdefault((first.task, first.split), Records(self._record)).add(shard, starts)

    def _map(self, shard: int) -> mmap.mmap:
        """Memory map of a shard. Each map uses a file handle, and a process may have about a thousand of those."""
        mapping = self._maps.get(shard)
        if mapping is None:
            with open(self.paths[shard], "rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with self._lock:
                while len(self._maps) >= MAX_OPEN_SHARDS:
                    self._maps.pop(next(iter(self._maps)))  # closed when no reader refers to it
                self._maps[shard] = mapping
        return mapping

    def _record(self, shard: int, start: int, stop: int) -> Record:
        return record_at(self._map(shard), self.paths[shard], shard, start, stop)

    def get(self, task: str, split: str) -> Sequence[Record]:
        """Records of the samples of a task and split; empty if there are none."""
        return self.samples.get((task, split), ())

    def tasks(self, split: str) -> list[str]:
        """Tasks with samples in a split."""
        return sorted(task for task, task_split in self.samples if task_split == split)

    def bytes(self, record: Record, span: Span) -> bytes:
        """The bytes of a member."""
        return self._map(record.shard)[span.start : span.stop]

    def sample(self, record: Record) -> Sample:
        """Read the JSON of a sample. Raises ShardError if it is invalid."""
        try:
            return Sample.from_json(self.bytes(record, record.json))
        except SampleError as error:
            raise ShardError(f"{self.paths[record.shard]}: {record.key}.json: {error}") from error

    def medium(self, record: Record, part: Part) -> Any:
        """Decode a medium: image as PIL image (RGB), audio as float32 mono array at 16 kHz, video as uint8 (T, H, W, 3).

        Raises ShardError if the member is missing or cannot be decoded.
        """
        where = f"{self.paths[record.shard]}: {record.key}.{part.part}"
        span = record.media.get(part.part or "")
        if span is None:
            raise ShardError(f"{where}: no such member")
        data = self.bytes(record, span)
        try:
            return decode(part.type, data)
        except (OSError, SyntaxError, RuntimeError, ValueError) as error:  # what PIL and soundfile raise on bad bytes
            raise ShardError(f"{where}: cannot be decoded: {error}") from error


def decode(modality: str, data: bytes) -> Any:
    """Decode the bytes of an image, audio or video; types as in `ShardSet.medium`. Raises ValueError for other formats."""
    if modality == "image":
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    if modality == "video":
        from codi2_datasets.media.video import decode_video  # needs PyAV, only if there are videos

        return decode_video(data)
    if modality == "audio":
        values, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        if rate != SAMPLE_RATE or values.ndim != 1:
            raise ValueError(f"audio must be mono at {SAMPLE_RATE} Hz, not {rate} Hz of shape {values.shape}")
        return values
    raise ValueError(f"unknown modality {modality}")


class MediaCache:
    """Cache of media tensors by asset id, up to a number of megabytes. Pixels are stored as uint8, without loss.

    prepare: (modality, decoded medium) -> tensor, as `CoDi2Processor.medium`.
    """

    def __init__(self, shards: ShardSet, prepare: Callable[[str, Any], torch.Tensor], megabytes: int) -> None:
        self.shards, self.prepare = shards, prepare
        self.room = megabytes * 1_000_000
        self._tensors: dict[str, torch.Tensor] = {}
        self._lock = threading.Lock()

    def get(self, record: Record, part: Part) -> torch.Tensor:
        """The prepared medium, for example an image (C, height, width) in [-1, 1]."""
        key = part.asset_id
        if key is not None and key in self._tensors:
            return _unpack(self._tensors[key])
        value = self.prepare(part.type, self.shards.medium(record, part))
        packed = value if part.type == "audio" else _pack(value)
        with self._lock:
            if key is not None and packed.nbytes <= self.room and key not in self._tensors:
                self._tensors[key] = packed
                self.room -= packed.nbytes
        return value


def _pack(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels k / 127.5 - 1 -> k as uint8; exact."""
    return ((pixels + 1.0) * 127.5).round().to(torch.uint8)


def _unpack(value: torch.Tensor) -> torch.Tensor:
    return value.float() / 127.5 - 1.0 if value.dtype == torch.uint8 else value
