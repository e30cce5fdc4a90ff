"""Diffusion paths between noise and data: adding noise in training, removing it in sampling.

- `SchedulePath`: noise schedules of diffusers, DDPM in training and DDIM (eta 0) in sampling.
- `StraightPath`: x_t = (1 - t) noise + t data with the clean data predicted (flow matching, Lipman et al. 2023; prediction of
  the data, Li and He 2025), Euler steps in sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from diffusers import DDIMScheduler, DDPMScheduler

MAX_WEIGHT = 5.0  # maximum loss weight at low noise (min-SNR, Hang et al. 2023)
MIN_REMAINING = 0.05  # minimum of 1 - t, below which velocities would grow without bound

Uniform = Callable[[], torch.Tensor]
"""Returns new uniform numbers in [0, 1) of shape (N,) at each call."""
Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy latents (N, ...), times (N,)) -> prediction of the decoder (N, ...)."""


class Path(Protocol):
    """Interface of a path between noise and data."""

    def times(self, uniform: Uniform) -> torch.Tensor:
        """Random times (N,) for a training step."""
        ...

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Latents with the noise level of the times."""
        ...

    def error(
        self, output: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        """Weighted squared error (N, ...) of a prediction."""
        ...

    def sample(self, predict: Predict, latents: torch.Tensor, steps: int) -> Iterator[torch.Tensor]:
        """Denoise in `steps` steps. Yields the estimated clean latents after each step; the last are the result."""
        ...


class SchedulePath:
    """Path of a noise schedule from a config of diffusers; `prediction_type` defines what the decoder predicts."""

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
            weight = (1.0 / (1.0 - ratio)).clamp(max=MAX_WEIGHT)  # 1 + SNR: equal to the velocity loss
            return (output - latents).square() * rows(weight, latents)
        target = self.schedule.get_velocity(latents, noise, times) if kind == "v_prediction" else noise
        return (output - target.float()).square()

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
    """Straight path from noise (time 0) to data (time 1). The decoder predicts the data.

    Training times have a logit-normal distribution (Esser et al. 2024), except for a fraction `pure_noise` at time 0, with
    which the decoder learns to predict the mean in a single step.
    """

    def __init__(
        self, mean: float = -0.6, spread: float = 1.0, pure_noise: float = 0.2, max_weight: float = 9.0
    ) -> None:
        self.mean, self.spread, self.pure_noise, self.max_weight = mean, spread, pure_noise, max_weight

    def times(self, uniform: Uniform) -> torch.Tensor:
        # logit-normal numbers from uniform ones, by the inverse of the normal distribution function
        normal = torch.special.ndtri(uniform().double().clamp(1e-6, 1 - 1e-6)).float()
        times = torch.sigmoid(normal * self.spread + self.mean)
        return torch.where(uniform() < self.pure_noise, torch.zeros_like(times), times)

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        share = rows(times, latents)
        return (1 - share) * noise + share * latents

    def error(
        self, output: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        weight = (1 - times).clamp_min(MIN_REMAINING).square().reciprocal().clamp(max=self.max_weight)
        return (output - latents).square() * rows(weight, latents)

    def sample(self, predict: Predict, latents: torch.Tensor, steps: int) -> Iterator[torch.Tensor]:
        if steps < 1:
            raise ValueError(f"decoder: {steps} sampling steps, expected at least 1")
        for step in range(steps):
            time, following = step / steps, (step + 1) / steps
            data = predict(latents, latents.new_full((len(latents),), time)).clamp(-1.05, 1.05)
            latents = latents + (data - latents) * ((following - time) / max(1 - time, MIN_REMAINING))
            yield latents if step == steps - 1 else data


def rows(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values (N,) -> (N, 1, ...), to multiply the rows of `like`."""
    return values.to(like).view(-1, *[1] * (like.ndim - 1))
