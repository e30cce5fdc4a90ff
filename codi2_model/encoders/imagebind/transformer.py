"""The pre-norm transformer that all trunks share, their heads, and the scales of their embeddings.

The names of modules and parameters are the published checkpoint's, so that it loads as it is. The code is our own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codi2_model.encoders.imagebind.options import TrunkOptions

EPS = 1e-6
"""Of every layer norm but the stems' own, which keep torch's 1e-5."""
MAX_SCALE = 100.0
SCALES = {"text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
"""Logit scale of each trunk's embeddings as training starts; only text's is learnt. Vision has none."""
BIAS_KV = ("audio", "depth", "thermal", "imu")
"""Trunks whose attention sees one learned key and value more."""


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and MLP, each after its norm and added to what came in; (N, L, width) -> the same."""

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
    """(N, L, width) -> the same. The additive mask (L, L) is text's alone; vision alone has a norm before the blocks."""

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
    def __init__(self, width: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(width, eps=EPS), nn.Linear(width, out_dim, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(tokens)


def make_head(trunk: str, width: int, out_dim: int) -> nn.Module:
    """Norm and projection of single tokens, (..., width) -> (..., out_dim)."""
    if trunk == "text":
        return TextHead(width, out_dim)
    # Identities stand where the published model selects the class token, and (imu) where training drops out.
    between = [nn.Identity() for _ in range(2 if trunk == "imu" else 1)]
    return nn.Sequential(nn.LayerNorm(width, eps=EPS), *between, nn.Linear(width, out_dim, bias=False))


class LogitScale(nn.Module):
    """Times exp(log_logit_scale), at most 100."""

    log_logit_scale: Tensor

    def __init__(self, scale: float, learnt: bool) -> None:
        super().__init__()
        value = torch.full((), math.log(scale))
        if learnt:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings * self.log_logit_scale.exp().clamp(max=MAX_SCALE)


def make_scale(trunk: str) -> nn.Module:
    """What follows a trunk's normalisation."""
    return nn.Sequential(nn.Identity(), LogitScale(SCALES[trunk], learnt=trunk == "text"))
