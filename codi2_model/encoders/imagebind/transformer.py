"""Pre-norm transformer of the ImageBind trunks, their heads, and the scales of their embeddings.

Modules and parameters have the names of the published checkpoint.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codi2_model.encoders.imagebind.options import TrunkOptions

EPS = 1e-6
"""Epsilon of all layer norms except those of the stems, which use torch's default 1e-5."""
MAX_SCALE = 100.0
SCALES = {"text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
"""Initial logit scale of each trunk's embeddings. Only that of text is learned; vision has none."""
BIAS_KV = ("audio", "depth", "thermal", "imu")
"""Trunks whose attention has one additional learned key and value."""


class Mlp(nn.Module):
    """Feed-forward layer of a block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Pre-norm attention and MLP with residuals: (N, L, width) -> (N, L, width)."""

    def __init__(self, options: TrunkOptions, bias_kv: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(options.width, options.heads, add_bias_kv=bias_kv, batch_first=True)
        self.norm_1 = nn.LayerNorm(options.width, eps=EPS)
        self.mlp = Mlp(options.width)
        self.norm_2 = nn.LayerNorm(options.width, eps=EPS)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        normed = self.norm_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        return tokens + self.mlp(self.norm_2(tokens))


class Trunk(nn.Module):
    """Transformer: (N, L, width) -> (N, L, width). Only text has an additive mask (L, L), only vision an initial norm."""

    def __init__(self, trunk: str, options: TrunkOptions) -> None:
        super().__init__()
        first = nn.LayerNorm(options.width, eps=EPS) if trunk == "vision" else nn.Identity()
        self.pre_transformer_layer = nn.Sequential(first)
        self.blocks = nn.ModuleList(Block(options, trunk in BIAS_KV) for _ in range(options.depth))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens


class TextHead(nn.Module):
    """Norm and projection of text tokens."""

    def __init__(self, width: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(width, eps=EPS), nn.Linear(width, out_dim, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(tokens)


def make_head(trunk: str, width: int, out_dim: int) -> nn.Module:
    """Create norm and projection of tokens: (..., width) -> (..., out_dim)."""
    if trunk == "text":
        return TextHead(width, out_dim)
    # Identities keep the layer numbers of the published model, which selects the class token and (imu) has a dropout here.
    between = [nn.Identity() for _ in range(2 if trunk == "imu" else 1)]
    return nn.Sequential(nn.LayerNorm(width, eps=EPS), *between, nn.Linear(width, out_dim, bias=False))


class LogitScale(nn.Module):
    """Multiply with exp(log_logit_scale), at most 100."""

    log_logit_scale: Tensor

    def __init__(self, scale: float, learned: bool) -> None:
        super().__init__()
        value = torch.full((), math.log(scale))
        if learned:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings * self.log_logit_scale.exp().clamp(max=MAX_SCALE)


def make_scale(trunk: str) -> nn.Module:
    """Create the logit scale that follows the normalisation of a trunk."""
    return nn.Sequential(nn.Identity(), LogitScale(SCALES[trunk], learned=trunk == "text"))
