"""One decoder for every modality: a diffusers UNet that denoises a medium, given its features.

- the features enter as class embedding (added to the time embedding of every block), as in unCLIP;
- the source of an edit enters as reference channels beside the noise (InstructPix2Pix), with one channel that says if there is any;
- classifier-free guidance (Ho and Salimans 2022): features are dropped for a share of the training items;
- media are in [-1, 1] on the way in and in [0, 1] on the way out; both are checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import nn
from torch.nn import functional as F

from codi2_model.config import CoDi2Config, DecoderOptions

MAX_WEIGHT = 5.0  # of the loss at little noise (min-SNR, Hang et al. 2023)

SKETCH_SIDE = 8

Generators = torch.Generator | Sequence[torch.Generator] | None


class Reference(NamedTuple):
    """Sources of edits: media (N, C, height, width) in [-1, 1], present (N,) bool; what is not present counts as none."""

    media: torch.Tensor
    present: torch.Tensor


class Condition(NamedTuple):
    """Features as the UNet gets them: a class embedding (N, E) and input channels (N, sketch, height, width) of its grid."""

    embedding: torch.Tensor
    sketch: torch.Tensor


class DiffusionDecoder(nn.Module):
    """Features (N, slots, D) or (N, D) -> media of `shape`."""

    def __init__(
        self, options: DecoderOptions, shape: tuple[int, int, int], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__()
        self.options, self.shape, self.slots, self.feature_dim, self.scale = options, shape, slots, feature_dim, scale
        channels, height, side = shape
        fold = options.patch**2
        levels = len(options.channels)
        low = ["AttnDownBlock2D" if options.attention else "DownBlock2D"]
        self.unet: Any = UNet2DModel(
            sample_size=(height // options.patch, side // options.patch),
            in_channels=(2 * channels + 1) * fold + options.sketch,
            out_channels=channels * fold,
            block_out_channels=tuple(options.channels),
            down_block_types=tuple(["DownBlock2D"] * (levels - 1) + low),
            up_block_types=tuple([low[0].replace("Down", "Up")] + ["UpBlock2D"] * (levels - 1)),
            layers_per_block=options.layers_per_block,
            norm_num_groups=options.norm_groups,
            attention_head_dim=32,
            class_embed_type="identity",
            resnet_time_scale_shift="scale_shift",
        )
        width = options.channels[0] * 4
        self.condition = nn.Sequential(nn.Linear(slots * feature_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.no_features = nn.Parameter(torch.zeros(width))
        grid = (options.sketch, height // options.patch, side // options.patch)
        self.sketch = nn.Sequential(
            nn.Linear(slots * feature_dim, width),
            nn.SiLU(),
            nn.Linear(width, options.sketch * SKETCH_SIDE**2),
            nn.Unflatten(1, (options.sketch, SKETCH_SIDE, SKETCH_SIDE)),
            nn.Upsample(size=grid[1:], mode="bilinear"),
        )
        self._noise_schedule: Any = None

    def loss(
        self,
        features: torch.Tensor,
        media: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Mean squared error of the predicted velocity (or noise) at random times; a scalar.

        features (N, D) or (N, slots, D); media (N, C, height, width) in [-1, 1]; reference: a `Reference`, or a tensor
        where all are present. Raises ValueError for a wrong shape or range.
        """
        features = self._checked_features(features)
        self._check_media(media, len(features), "media")
        source = self._reference(reference, len(features), media)
        device, count = media.device, len(media)

        def random(*shape: int) -> torch.Tensor:
            return torch.rand(*shape, generator=generator, device=_home(generator, device)).to(device)

        noise = torch.randn(media.shape, generator=generator, device=_home(generator, device)).to(media)
        times = (random(count) * self.options.timesteps).long().clamp(max=self.options.timesteps - 1)
        if self.training:
            source = source * (random(count) >= self.options.reference_dropout).to(media.dtype)[:, None, None, None]
            strength = random(count, 1, 1) * self.options.feature_noise
            spread = torch.randn(features.shape, generator=generator, device=_home(generator, device)).to(features)
            features = features + strength * spread * self.scale / self.feature_dim**0.5
        dropped = random(count) < (self.options.feature_dropout if self.training else 0.0)
        schedule = self._schedule()
        noisy = schedule.add_noise(media, noise, times)
        output = self._denoise(noisy, source, times, self._condition(features, dropped))
        if self.options.prediction_type == "sample":
            ratio = schedule.alphas_cumprod.to(media)[times]
            weight = (1.0 / (1.0 - ratio)).clamp(max=MAX_WEIGHT)  # 1 + SNR: what makes it the velocity's loss
            return ((output - media).square().mean(dim=(1, 2, 3)) * weight).mean()
        wanted = noise if self.options.prediction_type == "epsilon" else schedule.get_velocity(media, noise, times)
        return F.mse_loss(output, wanted)

    def sample(
        self,
        features: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Generators = None,
    ) -> torch.Tensor:
        """DDIM (eta 0) from noise -> media (N, C, height, width) in [0, 1].

        generator: one for all rows, or one per row (then a row does not depend on the others of its batch).
        """
        result: torch.Tensor | None = None
        for result in self.sample_steps(features, reference, steps, guidance, generator):  # noqa: B007
            pass
        assert result is not None
        return result

    @torch.no_grad()
    def sample_steps(
        self,
        features: torch.Tensor,
        reference: Reference | torch.Tensor | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Generators = None,
    ) -> Iterator[torch.Tensor]:
        """As `sample`, giving after each step the medium as it looks so far; the last one is the result."""
        if not 1 <= steps <= self.options.timesteps:
            raise ValueError(f"decoder: {steps} sampling steps, expected 1 to {self.options.timesteps}")
        features = self._checked_features(features)
        count = len(features)
        media = self._noise(count, features, generator)
        source = self._reference(reference, count, media)
        guided = guidance != 1.0
        keep = torch.zeros(count, dtype=torch.bool, device=features.device)
        condition = self._condition(features, keep)
        if guided:
            condition = Condition(*map(torch.cat, zip(condition, self._condition(features, ~keep), strict=True)))
            source = torch.cat([source, source])
        schedule: Any = DDIMScheduler(clip_sample=True, set_alpha_to_one=True, **self._schedule_options())
        schedule.set_timesteps(steps)
        for time in schedule.timesteps:
            times = time.expand(len(source)).to(features.device)
            output = self._denoise(torch.cat([media, media]) if guided else media, source, times, condition)
            if guided:
                given, without = output.chunk(2)
                output = without + guidance * (given - without)
            step = schedule.step(output, int(time), media)
            media = step.prev_sample
            yield ((step.pred_original_sample + 1.0) / 2.0).clamp(0.0, 1.0)

    def _schedule_options(self) -> dict[str, object]:
        return {
            "num_train_timesteps": self.options.timesteps,
            "beta_schedule": self.options.beta_schedule,
            "prediction_type": self.options.prediction_type,
            "timestep_spacing": "trailing",
            # Sampling starts from pure noise, so training must see it too (Lin et al. 2023); epsilon cannot be asked there.
            "rescale_betas_zero_snr": self.options.prediction_type != "epsilon",
        }

    def _schedule(self) -> Any:
        if self._noise_schedule is None:  # made late: from_pretrained builds modules without storage
            self._noise_schedule = DDPMScheduler(**self._schedule_options())
        return self._noise_schedule

    def _noise(self, count: int, like: torch.Tensor, generator: Generators) -> torch.Tensor:
        if isinstance(generator, Sequence):
            if len(generator) != count:
                raise ValueError(f"decoder: {len(generator)} generators for {count} media")
            rows = [torch.randn(self.shape, generator=g, device=g.device).to(like) for g in generator]
            return torch.stack(rows) if rows else like.new_zeros(0, *self.shape)
        return torch.randn(count, *self.shape, generator=generator, device=_home(generator, like.device)).to(like)

    def _denoise(
        self, noisy: torch.Tensor, source: torch.Tensor, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        folded = F.pixel_unshuffle(torch.cat([noisy, source], dim=1), self.options.patch)
        inputs = torch.cat([folded, condition.sketch], dim=1)
        return F.pixel_shuffle(self.unet(inputs, times, class_labels=condition.embedding).sample, self.options.patch)

    def _condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        """Features (N, slots, D), dropped (N,) bool -> what the UNet gets of them."""
        unit = features.flatten(1) * (self.feature_dim**0.5 / self.scale)  # about unit variance
        embedding = torch.where(dropped[:, None], self.no_features, self.condition(unit))
        return Condition(embedding, self.sketch(unit) * (~dropped).to(unit.dtype)[:, None, None, None])

    def _reference(self, reference: Reference | torch.Tensor | None, count: int, like: torch.Tensor) -> torch.Tensor:
        """Reference channels (N, C + 1, height, width): the source, zeros where there is none, and a channel of presence."""
        channels, height, width = self.shape
        if reference is None:
            return like.new_zeros(count, channels + 1, height, width)
        if isinstance(reference, torch.Tensor):
            reference = Reference(reference, torch.ones(len(reference), dtype=torch.bool, device=reference.device))
        self._check_media(reference.media, count, "reference")
        present = reference.present.to(like)[:, None, None, None]
        return torch.cat([reference.media.to(like) * present, present.expand(-1, 1, height, width)], dim=1)

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


def build_decoder(config: CoDi2Config, modality: str) -> DiffusionDecoder:
    """The decoder of a modality, as the config says."""
    shape = config.media_shape(modality)
    return DiffusionDecoder(config.decoder(modality), shape, config.feature_tokens, config.feature_dim, config.scale)


def _home(generator: torch.Generator | None, device: torch.device) -> torch.device:
    """Random numbers are drawn where their generator lives, so that a seed means the same on every device."""
    return device if generator is None else generator.device
