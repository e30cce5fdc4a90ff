"""Stems of ImageBind: turn the input of a modality into tokens (patches, class token, positions).

Modules and parameters have the names of the published checkpoint.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from codi2_model.encoders.imagebind.options import TrunkOptions


def _small(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * shape[-1] ** -0.5)


class StillToClip(nn.Module):
    """Repeat images (N, C, H, W), or videos of one frame, to clips (N, C, frames, H, W)."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, media: Tensor) -> Tensor:
        clips = media[:, :, None] if media.ndim == 4 else media
        return clips.expand(-1, -1, self.frames, -1, -1) if clips.shape[2] == 1 else clips


class Patches(nn.Module):
    """(N, channels, *shape) -> (N, patches, width). With a final norm, except for vision."""

    _convolutions: ClassVar[dict[int, type[nn.Module]]] = {2: nn.Conv2d, 3: nn.Conv3d}

    def __init__(self, options: TrunkOptions) -> None:
        super().__init__()
        axes = len(options.shape)
        cut = self._convolutions[axes](
            options.channels, options.width, kernel_size=options.patch, stride=options.steps, bias=False
        )
        self.proj = nn.Sequential(StillToClip(options.shape[0]), cut) if axes == 3 else cut
        self.norm_layer = None if axes == 3 else nn.LayerNorm(options.width)

    def forward(self, media: Tensor) -> Tensor:
        patches = self.proj(media).flatten(2).transpose(1, 2)
        return patches if self.norm_layer is None else self.norm_layer(patches)


class Positions(nn.Module):
    """Learned positions (1, 1 + patches, width), that of the class token first."""

    def __init__(self, options: TrunkOptions) -> None:
        super().__init__()
        self.pos_embed = _small(1, 1 + options.patches, options.width)


class PatchTokens(nn.Module):
    """Images, audio, depth and thermal maps: (N, channels, *shape) -> (N, 1 + patches, width)."""

    def __init__(self, options: TrunkOptions, stem: str = "rgbt_stem") -> None:
        super().__init__()
        self.stem = stem
        self.cls_token = _small(1, 1, options.width)
        self.add_module(stem, Patches(options))
        self.pos_embedding_helper = Positions(options)

    def forward(self, media: Tensor) -> Tensor:
        patches = self.get_submodule(self.stem)(media)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens + self.pos_embedding_helper.pos_embed


class MotionStem(nn.Module):
    """Windows of a motion sensor (N, L, channels * window) -> (N, L, width)."""

    def __init__(self, options: TrunkOptions) -> None:
        super().__init__()
        self.proj = nn.Linear(options.channels * options.patch[0], options.width, bias=False)
        self.norm_layer = nn.LayerNorm(options.width)

    def forward(self, windows: Tensor) -> Tensor:
        return self.norm_layer(self.proj(windows))


class MotionTokens(nn.Module):
    """Accelerometer and gyroscope: (N, 6, samples) -> (N, 1 + windows, width)."""

    def __init__(self, options: TrunkOptions) -> None:
        super().__init__()
        self.patch, self.step = options.patch[0], options.steps[0]
        self.pos_embed = _small(1, 1 + options.patches, options.width)
        self.cls_token = _small(1, 1, options.width)
        self.imu_stem = MotionStem(options)

    def forward(self, media: Tensor) -> Tensor:
        windows = media.unfold(-1, self.patch, self.step).transpose(1, 2).flatten(2)  # (N, L, channels * window)
        tokens = torch.cat([self.cls_token.expand(len(media), -1, -1), self.imu_stem(windows)], dim=1)
        return tokens + self.pos_embed


class TextTokens(nn.Module):
    """CLIP's byte-pair ids (N, L <= shape[0]) -> (N, L, width). Has the causal mask as a buffer, as the checkpoint does."""

    mask: Tensor

    def __init__(self, options: TrunkOptions) -> None:
        super().__init__()
        length = options.shape[0]
        self.pos_embed = nn.Parameter(torch.randn(1, length, options.width) * 0.01)
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1))
        self.token_embedding = nn.Embedding(options.vocab, options.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.pos_embed[:, : ids.shape[1]]


def make_stem(trunk: str, options: TrunkOptions) -> nn.Module:
    """Create the stem of a trunk."""
    if trunk == "text":
        return TextTokens(options)
    if trunk == "imu":
        return MotionTokens(options)
    return PatchTokens(options, "depth_stem" if trunk == "depth" else "rgbt_stem")
