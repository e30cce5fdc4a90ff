"""Local shard tars as a random-access table of samples.

- where each sample begins is all that stays in memory (`tars.py`); bytes are read when a sample is asked for, so that a
  run can jump to any sample and resume exactly, which a streaming reader cannot;
- decoded media are cached by asset, since the same picture stands in many samples;
- a broken tar, sample or medium is an error that names the shard and the member.
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
OPEN = 400  # shards held open at once


def expand(patterns: Iterable[str | Path]) -> list[str]:
    """Paths and globs -> sorted paths of files that exist. A path that exists is that path; only then is it a glob.
    Raises FileNotFoundError for one that finds none."""
    found: set[str] = set()
    for pattern in patterns:
        matches = local_matches(str(pattern))
        if not matches:
            raise FileNotFoundError(f"{pattern}: no such shard")
        found.update(matches)
    return sorted(found)


class ShardSet:
    """All samples of some shards, by (task, split)."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = sorted(paths)
        self.samples: dict[tuple[str, str], Records] = {}
        self._maps: dict[int, mmap.mmap] = {}
        self._lock = threading.Lock()
        for shard, path in enumerate(self.paths):
            if Path(path).stat().st_size == 0:
                raise ShardError(f"{path}: empty; write the shard again")
            starts = sample_starts(self._map(shard), path)
            if len(starts) > 1:  # a shard holds one task and one split
                first = self.sample(self._record(shard, int(starts[0]), int(starts[1])))
                self.samples.setdefault((first.task, first.split), Records(self._record)).add(shard, starts)

    def _map(self, shard: int) -> mmap.mmap:
        """The shard in memory. Each open one holds a file handle, of which a process may have about a thousand."""
        found = self._maps.get(shard)
        if found is None:
            with open(self.paths[shard], "rb") as file:
                found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with self._lock:
                while len(self._maps) >= OPEN:
                    self._maps.pop(next(iter(self._maps)))  # closed once nobody reads from it any more
                self._maps[shard] = found
        return found

    def _record(self, shard: int, start: int, stop: int) -> Record:
        return record_at(self._map(shard), self.paths[shard], shard, start, stop)

    def get(self, task: str, split: str) -> Sequence[Record]:
        return self.samples.get((task, split), ())

    def tasks(self, split: str) -> list[str]:
        return sorted(task for task, of in self.samples if of == split)

    def bytes(self, record: Record, span: Span) -> bytes:
        return self._map(record.shard)[span.start : span.stop]

    def sample(self, record: Record) -> Sample:
        try:
            return Sample.from_json(self.bytes(record, record.json))
        except SampleError as error:
            raise ShardError(f"{self.paths[record.shard]}: {record.key}.json: {error}") from error

    def medium(self, record: Record, part: Part) -> Any:
        """A picture as PIL image (RGB), a sound as float32 mono array at 16 kHz, a clip as frames (T, H, W, 3) of uint8."""
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
    if modality == "image":
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    if modality == "video":
        from codi2_datasets.media.video import decode_video  # PyAV: only where there are clips

        return decode_video(data)
    if modality == "audio":
        values, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        if rate != SAMPLE_RATE or values.ndim != 1:
            raise ValueError(f"sounds are mono at {SAMPLE_RATE} Hz, not {rate} Hz of shape {values.shape}")
        return values
    raise ValueError(f"no decoder for {modality}")


class MediaCache:
    """Media as the model takes them, by asset; pictures are held as bytes. What is cached never changes what is returned."""

    def __init__(self, shards: ShardSet, prepare: Callable[[str, Any], torch.Tensor], megabytes: int) -> None:
        self.shards, self.prepare = shards, prepare
        self.room = megabytes * 1_000_000
        self._held: dict[str, torch.Tensor] = {}
        self._lock = threading.Lock()

    def get(self, record: Record, part: Part) -> torch.Tensor:
        """The medium as `prepare` makes it: (C, height, width) in [-1, 1]."""
        key = part.asset_id
        if key is not None and key in self._held:
            return _unpack(self._held[key])
        value = self.prepare(part.type, self.shards.medium(record, part))
        packed = value if part.type == "audio" else _pack(value)
        with self._lock:
            if key is not None and packed.nbytes <= self.room and key not in self._held:
                self._held[key] = packed
                self.room -= packed.nbytes
        return value


def _pack(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels k / 127.5 - 1 -> k; exact."""
    return ((pixels + 1.0) * 127.5).round().to(torch.uint8)


def _unpack(value: torch.Tensor) -> torch.Tensor:
    return value.float() / 127.5 - 1.0 if value.dtype == torch.uint8 else value
