"""Transformer decoder over the patches of an image, a log-mel spectrogram or a video (DiT, Peebles and Xie 2023).

- Features are tokens before the patches, and modulate the norms of every block together with the time (adaLN-Zero).
- References are additional input channels of the patches, so an edit needs no more tokens than a generation.
- The network predicts the clean medium on a straight path from noise, and for edits a mask that keeps parts of the source.

Shapes: C channels, P patches of p numbers a channel, S feature slots, W width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from codi2_model.decoders.diffusion import Condition, DiffusionDecoder
from codi2_model.decoders.paths import Path, StraightPath
from codi2_model.decoders.upscaler import Upscaler
from codi2_model.modules.attention import attend
from codi2_model.options import TransformerOptions

FREQUENCIES = 32  # of the time embedding


class Attention(nn.Module):
    """Self-attention with normalized queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter, self.leave = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.enter(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.leave(attend(q, k, v).transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Pre-norm transformer block modulated by a vector (adaLN-Zero), initialised as the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU("tanh"), nn.Linear(4 * width, width, bias=False)
        )
        last = nn.Linear(width // 4, 6 * width)  # low rank, which avoids a third of all weights
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.steer = nn.Sequential(nn.Linear(width, width // 4, bias=False), last)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Tokens (N, L, W), condition (N, W) -> tokens (N, L, W)."""
        scale, shift, gate, scale2, shift2, gate2 = self.steer(condition)[:, None].chunk(6, dim=-1)
        x = x + gate * self.attention(F.rms_norm(x, x.shape[-1:]) * (1 + scale) + shift)
        return x + gate2 * self.mlp(F.rms_norm(x, x.shape[-1:]) * (1 + scale2) + shift2)


class PatchTransformer(nn.Module):
    """Network: patches (N, P, inputs), context (N, S, W), condition (N, W) -> patches (N, P, outputs)."""

    def __init__(self, options: TransformerOptions, slots: int, patches: int, inputs: int, outputs: int) -> None:
        super().__init__()
        width, self.slots = options.width, slots
        self.enter, self.leave = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.positions = nn.Parameter(torch.randn(slots + patches, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, options.heads) for _ in range(options.depth))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, patches: torch.Tensor, context: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        x = torch.cat([context, self.enter(patches)], dim=1) + self.positions
        condition = F.silu(condition)
        for block in self.blocks:
            x = block(x, condition)
        return self.leave(F.rms_norm(x[:, self.slots :], x.shape[-1:]))


class FeatureInput(nn.Module):
    """Features (N, S, D) of unit variance -> tokens (N, S, W) and a vector (N, W), from learned features for dropped rows."""

    def __init__(self, slots: int, feature_dim: int, width: int) -> None:
        super().__init__()
        self.tokens, self.pooled = nn.Linear(feature_dim, width), nn.Linear(slots * feature_dim, width)
        self.nothing = nn.Parameter(torch.zeros(slots, feature_dim))

    def forward(self, features: torch.Tensor, dropped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.where(dropped[:, None, None], self.nothing.to(features), features)
        return self.tokens(features), self.pooled(features.flatten(1))


class TransformerDecoder(DiffusionDecoder):
    """Transformer decoder of images (3, S, S), log-mel spectrograms (1, mels, frames) and videos (3, T, S, S)."""

    options: TransformerOptions

    def __init__(
        self, options: TransformerOptions, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, shape, slots, feature_dim, scale)
        self.references = options.references
        channels, patch, width = shape[0], math.prod(options.patch), options.width
        patches = math.prod(side // part for side, part in zip(shape[1:], options.patch, strict=True))
        inputs = channels + self.references * (channels + 1)
        self.network = PatchTransformer(options, slots, patches, inputs * patch, (channels + options.blend) * patch)
        self.features = FeatureInput(slots, feature_dim, width)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        convolution: Any = nn.Conv2d if len(shape) == 3 else nn.Conv3d  # smooths patch borders
        last = convolution(24, channels + options.blend, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.smooth = nn.Sequential(convolution(channels + options.blend, 24, 3, padding=1), nn.GELU(), last)

        self.upscaler = Upscaler() if options.upscale is not None else None

    def trained(self) -> list[nn.Module]:
        return [module for name, module in self.named_children() if name != "upscaler"]

    def load(self, source: str) -> None:
        """Load the weights of the upscaler from its package."""
        assert self.upscaler is not None
        self.upscaler.load(source)

    def make_path(self) -> Path:
        return StraightPath(mean=self.options.time_mean, pure_noise=self.options.pure_noise)

    def condition(self, features: torch.Tensor, dropped: torch.Tensor) -> Condition:
        context, pooled = self.features(features * (self.feature_dim**0.5 / self.scale), dropped)
        return {"context": context, "pooled": pooled}

    def denoise(
        self, noisy: torch.Tensor, source: torch.Tensor | None, times: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        assert source is not None
        angles = times[:, None] * torch.exp(torch.linspace(0, 6, FREQUENCIES, device=times.device))
        modulation = self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + condition["pooled"]
        patches = to_patches(torch.cat([noisy, source], dim=1), self.options.patch)
        output = self.network(patches, condition["context"], modulation)
        media = from_patches(output, self.options.patch, self.shape[1:])
        media = media + self.smooth(media)
        if not self.options.blend:
            return media
        channels = self.shape[0]
        kept = torch.sigmoid(media[:, channels:]) * source[:, channels : channels + 1]  # zero without a source
        return media[:, :channels] * (1.0 - kept) + source[:, :channels] * kept


def to_patches(media: torch.Tensor, patch: tuple[int, ...]) -> torch.Tensor:
    """(N, C, *sides) -> (N, P, C * p), for two or three sides."""
    sides = [part for side, size in zip(media.shape[2:], patch, strict=True) for part in (side // size, size)]
    split = media.reshape(*media.shape[:2], *sides)
    grid, inner = range(2, split.ndim, 2), range(3, split.ndim, 2)
    return split.permute(0, *grid, 1, *inner).flatten(len(patch) + 1).flatten(1, len(patch))


def from_patches(patches: torch.Tensor, patch: tuple[int, ...], sides: tuple[int, ...]) -> torch.Tensor:
    """The inverse of `to_patches`, for media with the given sides."""
    count = len(patch)
    grid = [side // size for side, size in zip(sides, patch, strict=True)]
    split = patches.reshape(len(patches), *grid, -1, *patch)
    order = [axis for n in range(count) for axis in (1 + n, 2 + count + n)]
    return split.permute(0, 1 + count, *order).reshape(len(patches), -1, *sides)
