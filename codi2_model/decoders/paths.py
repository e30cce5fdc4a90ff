"""Ways from noise to data: how a diffusion decoder adds noise in training, and how it takes it away in sampling.

- `SchedulePath`: diffusers' noise schedules, DDPM in training and DDIM (eta 0) in sampling;
- `StraightPath`: x_t = (1 - t) noise + t data with the clean data predicted (flow matching, Lipman et al. 2023; prediction of
  the data, Li and He 2025), Euler steps in sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from diffusers import DDIMScheduler, DDPMScheduler

MAX_WEIGHT = 5.0  # of the loss at little noise (min-SNR, Hang et al. 2023)
NEAREST = 0.05  # of a straight path to its end: velocities would grow without bound

Uniform = Callable[[], torch.Tensor]
"""Numbers in [0, 1) of shape (N,), new ones at each call."""
Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Latents with noise (N, ...) and times (N,) -> the decoder's prediction (N, ...)."""


class Path(Protocol):
    def times(self, uniform: Uniform) -> torch.Tensor:
        """Times (N,) for a step of training."""
        ...

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Latents with as much noise as there is at those times."""
        ...

    def error(
        self, output: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        """Weighted squared error (N, ...) of a prediction."""
        ...

    def sample(self, predict: Predict, latents: torch.Tensor, steps: int) -> Iterator[torch.Tensor]:
        """From noise in so many steps: after each the latents as they look so far; the last are the result."""
        ...


class SchedulePath:
    """A schedule as diffusers' configuration describes it; the decoder predicts what its `prediction_type` says."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.schedule: Any = DDPMScheduler.from_config(options)
        self.total = int(self.schedule.config.num_train_timesteps)

    def times(self, uniform: Uniform) -> torch.Tensor:
        return (uniform() * self.total).long().clamp(max=self.total - 1)

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return self.schedule.add_noise(latents, noise, times)

    def error(
        self, output: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        kind = self.schedule.config.prediction_type
        if kind == "sample":
            ratio = self.schedule.alphas_cumprod.to(latents)[times]
            weight = (1.0 / (1.0 - ratio)).clamp(max=MAX_WEIGHT)  # 1 + SNR: what makes it the velocity's loss
            return (output - latents).square() * rows(weight, latents)
        wanted = self.schedule.get_velocity(latents, noise, times) if kind == "v_prediction" else noise
        return (output - wanted.float()).square()

    def sample(self, predict: Predict, latents: torch.Tensor, steps: int) -> Iterator[torch.Tensor]:
        if not 1 <= steps <= self.total:
            raise ValueError(f"decoder: {steps} sampling steps, expected 1 to {self.total}")
        schedule: Any = DDIMScheduler.from_config(self.options)
        schedule.set_timesteps(steps)
        for number, time in enumerate(schedule.timesteps, start=1):
            output = predict(latents, time.expand(len(latents)).to(latents.device))
            step = schedule.step(output, int(time), latents)
            latents = step.prev_sample
            yield latents if number == steps else step.pred_original_sample


class StraightPath:
    """Straight lines from noise (time 0) to data (time 1). The decoder predicts the data.

    Times of training are the logistic function of a normal distribution (Esser et al. 2024), but for a share that is pure
    noise, so that one step alone gives the mean of what fits.
    """

    def __init__(
        self, mean: float = -0.6, spread: float = 1.0, pure_noise: float = 0.2, max_weight: float = 9.0
    ) -> None:
        self.mean, self.spread, self.pure_noise, self.max_weight = mean, spread, pure_noise, max_weight

    def times(self, uniform: Uniform) -> torch.Tensor:
        # the logistic of a normal number, which comes of a uniform one by the inverse of its distribution
        normal = torch.special.ndtri(uniform().double().clamp(1e-6, 1 - 1e-6)).float()
        times = torch.sigmoid(normal * self.spread + self.mean)
        return torch.where(uniform() < self.pure_noise, torch.zeros_like(times), times)

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        share = rows(times, latents)
        return (1 - share) * noise + share * latents

    def error(
        self, output: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        weight = (1 - times).clamp_min(NEAREST).square().reciprocal().clamp(max=self.max_weight)  # the velocity's loss
        return (output - latents).square() * rows(weight, latents)

    def sample(self, predict: Predict, latents: torch.Tensor, steps: int) -> Iterator[torch.Tensor]:
        if steps < 1:
            raise ValueError(f"decoder: {steps} sampling steps, expected at least 1")
        for step in range(steps):
            time, following = step / steps, (step + 1) / steps
            data = predict(latents, latents.new_full((len(latents),), time)).clamp(-1.05, 1.05)
            latents = latents + (data - latents) * ((following - time) / max(1 - time, NEAREST))
            yield latents if step == steps - 1 else data


def rows(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values (N,) -> (N, 1, ...), which multiply the rows of `like`."""
    return values.to(like).view(-1, *[1] * (like.ndim - 1))
