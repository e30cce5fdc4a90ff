"""Exponential moving average of the trained weights (Polyak and Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Ema:
    """Moving averages of parameters in float32. The decay rises with the updates n as (1 + n) / (10 + n), up to `decay`."""

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay, self.updates = list(parameters), decay, 0
        self.averages = [p.detach().float().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages after an optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self.averages, [p.detach().float() for p in self.parameters], 1.0 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the parameters by the averages."""
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            parameter.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the parameters by the averages within a `with` block."""
        saved = [p.detach().clone() for p in self.parameters]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, saved, strict=True):
                    parameter.copy_(value)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averages by number, and the number of updates."""
        averages = {str(number): gather_tensor(average) for number, average in enumerate(self.averages)}
        return {**averages, "updates": torch.tensor(self.updates)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load a state dict. Raises ValueError if it has another number of parameters."""
        if len(state) != len(self.averages) + 1:
            raise ValueError(
                f"the saved moving average has {len(state) - 1} parameters, the stage trains {len(self.averages)}"
            )
        self.updates = int(state["updates"])
        for number, average in enumerate(self.averages):
            average.copy_(shard_like(state[str(number)], average))


def gather_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU, gathered from the workers if it is sharded."""
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu()


def shard_like(tensor: torch.Tensor, template: Any) -> torch.Tensor:
    """Shard an unsharded tensor over the workers in the way of `template`."""
    if not hasattr(template, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(template.device), template.device_mesh, template.placements)
