"""Bit-exact reimplementation of PIL's resize of 8-bit images in torch, for the inputs of published encoders.

PIL filters along one axis after the other with fixed-point weights, and rounds to bytes after each pass. A float filter
differs by up to twenty levels on hard edges, where the first pass overshoots.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

PRECISION = 22  # fractional bits of PIL's weights; sums over bytes fit into 32 bits
NARROW = 100  # PIL reduces the height first if height / width exceeds this


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * a if x < 2.0 else 0.0


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""Name -> filter function and its support."""


def byte_values(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> byte values 0 to 255 as int32."""
    return ((images.float() + 1.0) * 127.5).round().clamp(0.0, 255.0).int()


def resize(images: Tensor, size: tuple[int, int], filter_name: str) -> Tensor:
    """Resize byte values (int32, (..., height, width)) to `size` as `PIL.Image.resize` does with that filter."""
    height, width = images.shape[-2:]
    by_height_first = height > width * NARROW and size[0] < height
    for axis in (-2, -1) if by_height_first else (-1, -2):
        images = _pass(images, axis, size[axis], filter_name)
    return images


def _pass(images: Tensor, axis: int, size: int, filter_name: str) -> Tensor:
    """Resize one axis and round to bytes."""
    if images.shape[axis] == size:
        return images
    first, weights = (table.to(images.device) for table in _taps(images.shape[axis], size, filter_name))
    lines = images.movedim(axis, 0).contiguous()  # contiguous lines are fast to gather
    sums = torch.full((size, *lines.shape[1:]), 1 << (PRECISION - 1), dtype=torch.int32, device=images.device)
    for tap in range(weights.shape[1]):
        indices = (first + tap).clamp_max(len(lines) - 1)
        sums += lines[indices] * weights[:, tap].view(-1, *[1] * (lines.ndim - 1))
    return (sums >> PRECISION).clamp(0, 255).movedim(0, axis)


@lru_cache(maxsize=64)
def _taps(old: int, new: int, filter_name: str) -> tuple[Tensor, Tensor]:
    """For each output position the first source index, (new,), and PIL's weights from there on, (new, taps)."""
    function, reach = FILTERS[filter_name]
    scale = old / new
    stretch = max(scale, 1.0)  # reducing widens the filter
    support = reach * stretch
    starts, rows = [], []
    for position in range(new):
        centre = (position + 0.5) * scale
        first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), old)
        values = [function((source - centre + 0.5) * (1.0 / stretch)) for source in range(first, last)]
        total = sum(values)
        starts.append(first)
        rows.append([math.trunc(math.copysign(0.5, value) + value / total * 2**PRECISION) for value in values])
    taps = max(map(len, rows))
    padded = [row + [0] * (taps - len(row)) for row in rows]
    with torch.device("cpu"):  # cached for all devices
        return torch.tensor(starts), torch.tensor(padded, dtype=torch.int32)
