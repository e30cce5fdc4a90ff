"""Random numbers for the rows of a batch, from one generator or from one for each row.

With a generator for each row, a row's noise does not depend on the others of its batch: neither how a training step is cut
into micro-batches nor which requests share a batch changes it. Numbers are drawn where their generator lives, so that a
seed means the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One for all rows, one for each row, or torch's own."""


def row_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator on the CPU for each row."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def normal(shape: Sequence[int], generators: Generators, like: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers of a shape (rows first), with the device and type of `like`."""
    return _rows(torch.randn, shape, generators, like)


def uniform(shape: Sequence[int], generators: Generators, like: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) of a shape (rows first), with the device and type of `like`."""
    return _rows(torch.rand, shape, generators, like)


def _rows(
    draw: Callable[..., torch.Tensor], shape: Sequence[int], generators: Generators, like: torch.Tensor
) -> torch.Tensor:
    """Raises ValueError where there are generators for another number of rows."""
    if not isinstance(generators, Sequence):
        home: Any = like.device if generators is None else generators.device
        return draw(tuple(shape), generator=generators, device=home).to(like)
    if len(generators) != shape[0]:
        raise ValueError(f"{len(generators)} generators for {shape[0]} rows")
    rows = [draw(tuple(shape[1:]), generator=each, device=each.device).to(like) for each in generators]
    return torch.stack(rows) if rows else like.new_zeros(*shape)
