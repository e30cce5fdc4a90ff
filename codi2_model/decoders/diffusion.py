"""Base of the diffusion decoders: loss and sampling loop, conditioned on features and optional references.

A decoder works on latents: those of an autoencoder in published decoders, the medium itself in the others. Subclasses
define `encode` and `decode`, the network's condition from features (`condition`), its prediction (`denoise`), and the path
between noise and data (`make_path`).

- References (the source of an edit first) are input channels in addition to the noise (InstructPix2Pix), with one more
  channel that marks their presence.
- Classifier-free guidance (Ho and Salimans 2022): features are dropped for a fraction of the training items.
- Input media are in [-1, 1], which is checked; output media are clamped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from codi2_model.decoders.paths import Path, SchedulePath, rows
from codi2_model.modules.losses import row_mean
from codi2_model.modules.noise import Generators, normal, uniform
from codi2_model.modules.slots import Reference

Condition = dict[str, torch.Tensor]
"""Condition of a network: tensors by name, batch first."""


@dataclass(frozen=True)
class Prediction:
    """What a decoder predicts in a training step, for N latents at random times."""

    output: torch.Tensor
    """Prediction (N, C, ...), in float32."""
    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor


class DiffusionDecoder(nn.Module):
    """Base class of decoders: features (N, slots, D) or (N, D) -> media of `shape`."""

    takes_reference = True
    references = 1
    """Maximum number of references."""

    def __init__(self, options: Any, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.options, self.shape, self.slots, self.feature_dim, self.scale = options, shape, slots, feature_dim, scale
        self._path: Path | None = None

    # --- to be defined by subclasses

    def schedule_options(self) -> dict[str, Any]:
        """Arguments of diffusers' schedulers."""
        raise NotImplementedError

    def make_path(self) -> Path:
        """The path between noise and data."""
        return SchedulePath(self.schedule_options())

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        """Condition from features (N, slots, D). dropped (N,) bool: rows without features, for guidance."""
        raise NotImplementedError

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        """Noisy latents (N, C, ...), source (N, references * (C + 1), ...), times (N,) -> prediction (N, C, ...)."""
        raise NotImplementedError

    def encode(self, media: torch.Tensor) -> torch.Tensor:
        """Media in [-1, 1] -> latents."""
        return media

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents -> media in about [-1, 1]."""
        return latents

    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the latents of one medium."""
        return self.shape

    def trained(self) -> list[nn.Module]:
        """Modules that are trained."""
        return [self]

    def load(self, source: str) -> None:
        """Load the published parts from a source. Raises ValueError for decoders without published parts."""
        raise ValueError(f"{source}: this kind of decoder has no published weights to load")

    # --- loss and sampling

    def loss(
        self,
        features: torch.Tensor,
        media: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        generator: Generators = None,
        count: float | None = None,
    ) -> torch.Tensor:
        """Weighted mean squared error at random times, summed over the media and divided by `count` (default N).

        features: (N, D) or (N, slots, D). media: (N, *shape) in [-1, 1]. reference: a `Reference`, or a tensor if all are
        present. generator: one for all rows, or one per row. Raises ValueError for a wrong shape or range.
        """
        return self.error(self.predict(features, media, reference, generator), count)

    def error(self, prediction: Prediction, count: float | None = None) -> torch.Tensor:
        """Weighted mean squared error of a prediction, summed over the media and divided by `count` (default N)."""
        errors = self.path().error(prediction.output, prediction.latents, prediction.noise, prediction.times)
        return row_mean(errors, count)

    def predict(
        self,
        features: torch.Tensor,
        media: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        generator: Generators = None,
    ) -> Prediction:
        """The prediction of media at random times; arguments as in `loss`."""
        features = self._checked_features(features)
        self._check_media(media, len(features), "media")
        latents = self.encode(media)
        source = self._source(reference, len(features), latents)
        size, path = len(media), self.path()

        def random(*shape: int) -> torch.Tensor:
            return uniform((size, *shape), generator, media)

        noise = normal(latents.shape, generator, latents)
        times = path.times(random)
        if self.training:
            if source is not None:
                source = source * rows(random() >= self.options.reference_dropout, source)
            strength = random(1, 1) * self.options.feature_noise
            spread = normal(features.shape, generator, features)
            features = features + strength * spread * self.scale / self.feature_dim**0.5
        dropped = random() < (self.options.feature_dropout if self.training else 0.0)
        output = self.denoise(path.noisy(latents, noise, times), source, times, self.condition(features, dropped))
        return Prediction(output.float(), latents, noise, times)

    def sample(
        self,
        features: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Generators = None,
    ) -> torch.Tensor:
        """Sample media (N, *shape) in [0, 1].

        generator: one for all rows, or one per row (then a row does not depend on the rest of the batch).
        """
        result: torch.Tensor | None = None
        for result in self.sample_steps(features, reference, steps, guidance, generator):  # noqa: B007
            pass
        assert result is not None
        return self.finish(result)

    @torch.no_grad()
    def sample_steps(
        self,
        features: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Generators = None,
    ) -> Iterator[torch.Tensor]:
        """As `sample`, but yield the estimated clean latents after each step, for `finish`; the last are the result."""
        features = self._checked_features(features)
        count = len(features)
        latents = normal((count, *self.latent_shape()), generator, features)
        source = self._source(reference, count, latents)
        guided = guidance != 1.0
        keep = torch.zeros(count, dtype=torch.bool, device=features.device)
        condition = self.condition(features, keep)
        if guided:
            without = self.condition(features, ~keep)
            condition = {name: torch.cat([value, without[name]]) for name, value in condition.items()}
            source = None if source is None else torch.cat([source, source])

        def predict(noisy: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            if not guided:
                return self.denoise(noisy, source, times, condition).float()
            both = self.denoise(torch.cat([noisy, noisy]), source, torch.cat([times, times]), condition).float()
            conditional, unconditional = both.chunk(2)
            return unconditional + guidance * (conditional - unconditional)

        yield from self.path().sample(predict, latents, steps)

    @torch.no_grad()
    def finish(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of `sample_steps` -> media (N, *shape) in [0, 1]."""
        return ((self.decode(latents).float() + 1.0) / 2.0).clamp(0.0, 1.0)

    def path(self) -> Path:
        """The path between noise and data, created on first use."""
        if self._path is None:  # not in __init__, where from_pretrained builds modules without storage
            self._path = self.make_path()
        return self._path

    def _source(
        self, reference: Reference | torch.Tensor | None, count: int, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Reference channels (N, references * (C + 1), ...): per reference its latents (or zeros), and a presence channel."""
        if not self.takes_reference:
            return None
        channels, sides = like.shape[1], like.shape[2:]
        source = like.new_zeros(count, self.references, channels + 1, *sides)
        if reference is not None:
            if isinstance(reference, torch.Tensor):
                reference = Reference(reference, torch.ones(len(reference), dtype=torch.bool, device=reference.device))
            media, present = reference
            if media.ndim == len(self.shape) + 1:
                media, present = media[:, None], present[:, None]
            used = min(media.shape[1], self.references)
            flat = media[:, :used].flatten(0, 1)
            self._check_media(flat, count * used, "reference")
            mask = present[:, :used].to(like)
            latents = self.encode(flat.to(like))
            source[:, :used, :channels] = (latents * rows(mask.flatten(), latents)).unflatten(0, (count, used))
            source[:, :used, channels] = mask.view(count, used, *[1] * len(sides))
        return source.flatten(1, 2)

    def _checked_features(self, features: torch.Tensor) -> torch.Tensor:
        if features.ndim == 2:
            features = features[:, None]
        if features.ndim != 3 or features.shape[1:] != (self.slots, self.feature_dim):
            raise ValueError(
                f"decoder: features have shape {tuple(features.shape)}, expected (N, {self.slots}, {self.feature_dim})"
            )
        return features

    def _check_media(self, media: torch.Tensor, count: int, name: str) -> None:
        if tuple(media.shape) != (count, *self.shape):
            raise ValueError(f"decoder: {name} has shape {tuple(media.shape)}, expected {(count, *self.shape)}")
        if count and (float(media.min()) < -1.001 or float(media.max()) > 1.001):
            low, high = float(media.min()), float(media.max())
            raise ValueError(f"decoder: {name} has values from {low:.3f} to {high:.3f}, expected [-1, 1]")
