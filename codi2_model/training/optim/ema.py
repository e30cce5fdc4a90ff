"""An exponential moving average of the weights that a stage trains (Polyak and Juditsky 1992): smoother than the last step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Ema:
    """Averages in float32 of parameters; the decay rises from 0 as (1 + n) / (10 + n), so that the start is soon forgotten."""

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay, self.updates = list(parameters), decay, 0
        self.averages = [p.detach().float().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are after an optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self.averages, [p.detach().float() for p in self.parameters], 1.0 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Make the averages the parameters."""
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            parameter.copy_(average)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages stand in for the parameters for a while."""
        kept = [p.detach().clone() for p in self.parameters]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, kept, strict=True):
                    parameter.copy_(value)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averages, by their number, and how often they were updated."""
        found = {str(number): whole(average) for number, average in enumerate(self.averages)}
        return {**found, "updates": torch.tensor(self.updates)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raises ValueError where the state is of other parameters."""
        if len(state) != len(self.averages) + 1:
            raise ValueError(f"the average holds {len(state) - 1} parameters, the stage trains {len(self.averages)}")
        self.updates = int(state["updates"])
        for number, average in enumerate(self.averages):
            average.copy_(like(state[str(number)], average))


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that may be spread over workers, in one piece on the CPU."""
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu()


def like(tensor: torch.Tensor, spread: Any) -> torch.Tensor:
    """A tensor in one piece, spread over the workers as another is."""
    if not hasattr(spread, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(spread.device), spread.device_mesh, spread.placements)
