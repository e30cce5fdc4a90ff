"""What all decoders share: the diffusion loss and the sampling loop, given features and perhaps the source of an edit.

A decoder works on latents: our own on the medium itself, published ones behind their autoencoder. It says how to
`encode` and `decode`, what its network gets of the features (`condition`), how it predicts (`denoise`), and on which way
from noise to data (`make_path`).

- the source of an edit enters as reference channels beside the noise (InstructPix2Pix), with one channel that says if there is
  any; a decoder may take more references than one;
- classifier-free guidance (Ho and Salimans 2022): features are dropped for a share of the training items;
- media are in [-1, 1] on the way in and in [0, 1] on the way out; both are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from codi2_model.decoders.paths import Path, SchedulePath, rows
from codi2_model.modules.losses import row_mean
from codi2_model.modules.noise import Generators, normal, uniform

Condition = dict[str, torch.Tensor]
"""What a UNet gets of the features: tensors by name, rows first."""


class Reference(NamedTuple):
    """What decoders are to keep to: media (N, ...) in [-1, 1] and present (N,) bool, or several for each row: (N, K, ...) and
    (N, K), the source of an edit first. What is not present counts as none."""

    media: torch.Tensor
    present: torch.Tensor


class DiffusionDecoder(nn.Module):
    """Features (N, slots, D) or (N, D) -> media of `shape`."""

    takes_reference = True
    references = 1
    """References that it takes at most."""

    def __init__(self, options: Any, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.options, self.shape, self.slots, self.feature_dim, self.scale = options, shape, slots, feature_dim, scale
        self._path: Path | None = None

    # --- what a decoder says of itself

    def schedule_options(self) -> dict[str, Any]:
        """Arguments of diffusers' schedulers."""
        raise NotImplementedError

    def make_path(self) -> Path:
        """The way from noise to data."""
        return SchedulePath(self.schedule_options())

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        """Features (N, slots, D), dropped (N,) bool: rows that are to look as if there were no features."""
        raise NotImplementedError

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        """Latents (N, C, ...) with noise, source (N, references * (C + 1), ...), times (N,) -> the prediction (N, C, ...)."""
        raise NotImplementedError

    def encode(self, media: torch.Tensor) -> torch.Tensor:
        """Media in [-1, 1] -> latents."""
        return media

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents -> media in about [-1, 1]."""
        return latents

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def trained(self) -> list[nn.Module]:
        """The parts that training changes."""
        return [self]

    def load(self, source: str) -> None:
        """Fill the published parts from the folder they are published as."""
        raise ValueError(f"a decoder of our own has no source, so {source} cannot be loaded")

    # --- loss and sampling

    def loss(
        self,
        features: torch.Tensor,
        media: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        generator: Generators = None,
        count: float | None = None,
    ) -> torch.Tensor:
        """Weighted mean squared error of the prediction at random times, summed over the media and divided by `count` (N).

        features (N, D) or (N, slots, D); media (N, *shape) in [-1, 1]; reference: a `Reference`, or a tensor where all are
        present; generator: one for all rows, or one per row. Raises ValueError for a wrong shape or range.
        """
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
        return row_mean(path.error(output.float(), latents, noise, times), count)

    def sample(
        self,
        features: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Generators = None,
    ) -> torch.Tensor:
        """From noise -> media (N, *shape) in [0, 1].

        generator: one for all rows, or one per row (then a row does not depend on the others of its batch).
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
        """As `sample`, giving after each step the latents as they look so far, for `finish`; the last are the result."""
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
            given, plain = both.chunk(2)
            return plain + guidance * (given - plain)

        yield from self.path().sample(predict, latents, steps)

    @torch.no_grad()
    def finish(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of `sample_steps` -> media (N, *shape) in [0, 1]."""
        return ((self.decode(latents).float() + 1.0) / 2.0).clamp(0.0, 1.0)

    def path(self) -> Path:
        if self._path is None:  # made late: from_pretrained builds modules without storage
            self._path = self.make_path()
        return self._path

    def _source(
        self, reference: Reference | torch.Tensor | None, count: int, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Reference channels (N, references * (C + 1), ...): of each its latents, zeros where there is none, and a channel
        of presence."""
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
            given = min(media.shape[1], self.references)
            flat = media[:, :given].flatten(0, 1)
            self._check_media(flat, count * given, "reference")
            there = present[:, :given].to(like)
            latents = self.encode(flat.to(like))
            source[:, :given, :channels] = (latents * rows(there.flatten(), latents)).unflatten(0, (count, given))
            source[:, :given, channels] = there.view(count, given, *[1] * len(sides))
        return source.flatten(1, 2)

    def _checked_features(self, features: torch.Tensor) -> torch.Tensor:
        if features.ndim == 2:
            features = features[:, None]
        if features.ndim != 3 or features.shape[1:] != (self.slots, self.feature_dim):
            raise ValueError(
                f"decoder: features have shape {tuple(features.shape)}, expected (N, {self.slots}, {self.feature_dim})"
            )
        return features

    def _check_media(self, media: torch.Tensor, count: int, what: str) -> None:
        if tuple(media.shape) != (count, *self.shape):
            raise ValueError(f"decoder: {what} have shape {tuple(media.shape)}, expected {(count, *self.shape)}")
        if count and (float(media.min()) < -1.001 or float(media.max()) > 1.001):
            low, high = float(media.min()), float(media.max())
            raise ValueError(f"decoder: {what} range from {low:.3f} to {high:.3f}, expected [-1, 1]")
