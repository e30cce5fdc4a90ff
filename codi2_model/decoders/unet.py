"""UNet decoders: a diffusers UNet on pixels, folded from space to depth.

Features enter twice: as an embedding for every block (added to the time embedding as in unCLIP; for videos through
cross-attention), and as a coarse sketch in the input channels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import UNet2DModel, UNet3DConditionModel
from torch import nn
from torch.nn import functional as F

from codi2_model.decoders.diffusion import Condition, DiffusionDecoder
from codi2_model.decoders.paths import rows
from codi2_model.options import DecoderOptions

SKETCH_SIDE = 8


class UNetDecoder(DiffusionDecoder):
    """UNet decoder of images (3, S, S) and log-mel spectrograms (1, mels, frames)."""

    options: DecoderOptions

    def __init__(
        self, options: DecoderOptions, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, shape, slots, feature_dim, scale)
        height, side = shape[-2] // options.patch, shape[-1] // options.patch
        width = options.channels[0] * 4
        self.unet = self.build_unet(height, side)
        self.conditioning = nn.Sequential(nn.Linear(slots * feature_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.no_features = nn.Parameter(torch.zeros(width))
        self.sketch = nn.Sequential(
            nn.Linear(slots * feature_dim, width),
            nn.SiLU(),
            nn.Linear(width, options.sketch * SKETCH_SIDE**2),
            nn.Unflatten(1, (options.sketch, SKETCH_SIDE, SKETCH_SIDE)),
            nn.Upsample(size=(height, side), mode="bilinear"),
        )

    def _channels(self) -> tuple[int, int]:
        """Input channels of the UNet (noise, source, its presence, sketch) and output channels."""
        fold = self.options.patch**2
        return (2 * self.shape[0] + 1) * fold + self.options.sketch, (self.shape[0] + self.options.blends) * fold

    def _blended(self, output: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Blend the UNet's output with the source, both (N, C + 1, ...), by the mask in the last channel of the output."""
        if not self.options.blends:
            return output
        present = source[:, -1:]
        kept = torch.sigmoid(output[:, -1:]) * present
        return output[:, :-1] * (1.0 - kept) + source[:, :-1] * kept

    def build_unet(self, height: int, side: int) -> Any:
        """Create the UNet for folded media of height x side."""
        options, (inputs, outputs) = self.options, self._channels()
        low = ["AttnDownBlock2D" if options.attention else "DownBlock2D"]
        levels = len(options.channels)
        return UNet2DModel(
            sample_size=(height, side),
            in_channels=inputs,
            out_channels=outputs,
            block_out_channels=tuple(options.channels),
            down_block_types=tuple(["DownBlock2D"] * (levels - 1) + low),
            up_block_types=tuple([low[0].replace("Down", "Up")] + ["UpBlock2D"] * (levels - 1)),
            layers_per_block=options.layers_per_block,
            norm_num_groups=options.norm_groups,
            attention_head_dim=32,
            class_embed_type="identity",
            resnet_time_scale_shift="scale_shift",
        )

    def schedule_options(self) -> dict[str, Any]:
        return {
            "num_train_timesteps": self.options.timesteps,
            "beta_schedule": self.options.beta_schedule,
            "prediction_type": self.options.prediction_type,
            "timestep_spacing": "trailing",
            "clip_sample": True,
            "set_alpha_to_one": True,
            # Sampling starts from pure noise, so training must include it (Lin et al. 2023); epsilon is undefined there.
            "rescale_betas_zero_snr": self.options.prediction_type != "epsilon",
        }

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        unit = features.flatten(1) * (self.feature_dim**0.5 / self.scale)  # about unit variance
        embedding = torch.where(dropped[:, None], self.no_features, self.conditioning(unit))
        sketch = self.sketch(unit)
        return {"embedding": embedding, "sketch": sketch * rows(~dropped, sketch)}

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        assert source is not None
        folded = F.pixel_unshuffle(torch.cat([noisy, source], dim=1), self.options.patch)
        inputs = torch.cat([folded, condition["sketch"]], dim=1)
        output = self.unet(inputs, times, class_labels=condition["embedding"]).sample
        return self._blended(F.pixel_shuffle(output, self.options.patch), source)


class VideoUNetDecoder(UNetDecoder):
    """UNet decoder of videos (3, T, S, S), with layers over time."""

    def build_unet(self, height: int, side: int) -> Any:
        options, (inputs, outputs) = self.options, self._channels()
        levels = len(options.channels)
        return UNet3DConditionModel(
            sample_size=(height, side),
            in_channels=inputs,
            out_channels=outputs,
            block_out_channels=tuple(options.channels),
            down_block_types=tuple(["DownBlock3D"] * (levels - 1) + ["CrossAttnDownBlock3D"]),
            up_block_types=tuple(["CrossAttnUpBlock3D"] + ["UpBlock3D"] * (levels - 1)),
            layers_per_block=options.layers_per_block,
            norm_num_groups=options.norm_groups,
            cross_attention_dim=options.channels[0] * 4,
            attention_head_dim=math.gcd(32, *options.channels),
        )

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        assert source is not None
        folded = unfold(torch.cat([noisy, source], dim=1), self.options.patch)
        sketch = condition["sketch"].unsqueeze(2).expand(-1, -1, folded.shape[2], -1, -1)
        inputs = torch.cat([folded, sketch], dim=1)
        output = self.unet(inputs, times, encoder_hidden_states=condition["embedding"][:, None]).sample
        return self._blended(fold(output, self.options.patch), source)


def unfold(videos: torch.Tensor, patch: int) -> torch.Tensor:
    """(N, C, T, H, W) -> (N, C * patch^2, T, H / patch, W / patch)."""
    return F.pixel_unshuffle(videos.transpose(1, 2), patch).transpose(1, 2)


def fold(videos: torch.Tensor, patch: int) -> torch.Tensor:
    """The inverse of `unfold`."""
    return F.pixel_shuffle(videos.transpose(1, 2), patch).transpose(1, 2)
