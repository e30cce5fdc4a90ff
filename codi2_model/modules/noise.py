"""Random numbers for the rows of a batch, from one generator or from one generator per row.

With a generator per row, the noise of a row does not depend on the other rows: neither the split of a training step into
micro-batches nor the requests in a batch change it. Numbers are drawn on the device of the generator, so a seed gives the
same numbers for every device of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One generator for all rows, one per row, or None for torch's default."""


def row_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per seed."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def normal(shape: Sequence[int], generators: Generators, like: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers of a shape (rows first), with the device and dtype of `like`."""
    return _rows(torch.randn, shape, generators, like)


def uniform(shape: Sequence[int], generators: Generators, like: torch.Tensor) -> torch.Tensor:
    """Uniform numbers in [0, 1) of a shape (rows first), with the device and dtype of `like`."""
    return _rows(torch.rand, shape, generators, like)


def _rows(
    draw: Callable[..., torch.Tensor], shape: Sequence[int], generators: Generators, like: torch.Tensor
) -> torch.Tensor:
    """Raise ValueError if the number of generators differs from the number of rows."""
    if not isinstance(generators, Sequence):
        device: Any = like.device if generators is None else generators.device
        return draw(tuple(shape), generator=generators, device=device).to(like)
    if len(generators) != shape[0]:
        raise ValueError(f"{len(generators)} generators for {shape[0]} rows")
    rows = [draw(tuple(shape[1:]), generator=generator, device=generator.device).to(like) for generator in generators]
    return torch.stack(rows) if rows else like.new_zeros(*shape)
