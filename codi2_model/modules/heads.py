"""Feature heads: predict the feature of a slot from the hidden state before it.

- regression, as published: the out-projection predicts the feature; cosine and squared error losses.
- flow: the out-projection conditions a small network that transports noise to the feature along straight paths (flow
  matching, Lipman et al. 2023; per token as in MAR, Li et al. 2024). It can sample one of several valid features, where
  regression predicts their mean.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from codi2_model.config import CoDi2Config
from codi2_model.modules.losses import cosine_loss, mse_loss, row_mean
from codi2_model.modules.noise import Generators, normal, uniform


def projection(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Linear, GELU, LayerNorm, Linear: the architecture of both projections of CoDi-2."""
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, outputs))


class HeadLosses(NamedTuple):
    """Unweighted losses of a head, and estimated features (N, slots, D) for the diffusion loss."""

    losses: dict[str, torch.Tensor]
    estimate: torch.Tensor


class RegressionHead(nn.Module):
    """Feature head by regression: hidden states (..., H) -> features (..., D)."""

    losses = ("feature_cosine", "feature_mse")

    def __init__(self, config: CoDi2Config) -> None:
        super().__init__()
        self.out_projection = projection(config.hidden_size, config.feature_dim, config.feature_dim)

    def forward(self, hidden: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.out_projection(hidden)

    def score(
        self, hidden: torch.Tensor, true: torch.Tensor, generator: Generators = None, count: float | None = None
    ) -> HeadLosses:
        """Losses for hidden states (N, slots, H) before the slots and true features (N, slots, D), divided by `count` (N)."""
        estimate = self.out_projection(hidden)
        losses = {"feature_cosine": cosine_loss(estimate, true, count), "feature_mse": mse_loss(estimate, true, count)}
        return HeadLosses(losses, estimate)


class FlowHead(nn.Module):
    """Feature head by flow matching: velocity v(x, t, hidden) of paths x = (1 - t) noise + t feature, in unit variance."""

    losses = ("feature_flow",)

    def __init__(self, config: CoDi2Config) -> None:
        super().__init__()
        options, self.dim = config.head, config.feature_dim
        self.steps, self.unit = options.steps, config.scale / config.feature_dim**0.5
        self.out_projection = projection(config.hidden_size, config.feature_dim, options.width)
        self.enter = nn.Linear(config.feature_dim, options.width)
        self.time = nn.Sequential(nn.Linear(1, options.width), nn.SiLU(), nn.Linear(options.width, options.width))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(options.width),
                nn.Linear(options.width, 2 * options.width),
                nn.SiLU(),
                nn.Linear(2 * options.width, options.width),
            )
            for _ in range(options.depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(options.width), nn.Linear(options.width, config.feature_dim))

    def velocity(self, x: torch.Tensor, time: torch.Tensor, steer: torch.Tensor) -> torch.Tensor:
        """Velocity (..., D) at x (..., D), time (..., 1) in [0, 1], under the condition steer (..., width)."""
        state = self.enter(x)
        condition = steer + self.time(time)
        for block in self.blocks:
            state = state + block(state + condition)
        return self.leave(state)

    def forward(self, hidden: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Sample features by Euler steps from noise. Without a generator, start at zero, which is deterministic."""
        steer = self.out_projection(hidden)
        x = steer.new_zeros(*hidden.shape[:-1], self.dim)
        if generator is not None:
            x = normal(x.shape, generator, x)
        for step in range(self.steps):
            x = x + self.velocity(x, x.new_full((*x.shape[:-1], 1), step / self.steps), steer) / self.steps
        return x * self.unit

    def score(
        self, hidden: torch.Tensor, true: torch.Tensor, generator: Generators = None, count: float | None = None
    ) -> HeadLosses:
        """As `RegressionHead.score`, with the flow matching loss at random times."""
        target = (true / self.unit).to(hidden.dtype)
        noise = normal(target.shape, generator, target)
        time = uniform((*target.shape[:-1], 1), generator, target)
        x = (1 - time) * noise + time * target
        velocity = self.velocity(x, time, self.out_projection(hidden))
        loss = row_mean((velocity.float() - (target - noise).float()).square(), count)
        return HeadLosses({"feature_flow": loss}, (x + (1 - time) * velocity) * self.unit)


def build_head(config: CoDi2Config) -> RegressionHead | FlowHead:
    """The feature head of a config."""
    return FlowHead(config) if config.head.kind == "flow" else RegressionHead(config)
