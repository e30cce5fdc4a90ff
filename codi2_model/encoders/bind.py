"""Small encoders of our own, one per modality, that share a feature space through a contrastive loss (CLIP, ImageBind).

- pictures and log-mel sounds: a convolutional stem, a pre-norm transformer over the patches;
- captions: a transformer over the tokenizer's ids;
- pooling: the patches' mean plus attention by one learned query per feature slot, then Linear to D and a fixed length.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from codi2_model.config import MODALITIES, CoDi2Config, EncoderOptions


def to_sphere(features: torch.Tensor, scale: float) -> torch.Tensor:
    """Give every vector of the last axis the length `scale`."""
    return F.normalize(features.float(), dim=-1, eps=1e-6).to(features.dtype) * scale


def _blocks(options: EncoderOptions) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        options.width,
        options.heads,
        dim_feedforward=4 * options.width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(layer, options.depth, nn.LayerNorm(options.width), enable_nested_tensor=False)


class BindEncoder(nn.Module):
    """What all modalities share: pooling of (N, L, width) into `slots` feature vectors of length `scale`."""

    def __init__(self, options: EncoderOptions, slots: int, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.blocks = _blocks(options)
        self.queries = nn.Parameter(torch.randn(1, slots, options.width) * 0.02)
        self.attend = nn.MultiheadAttention(options.width, options.heads, batch_first=True)
        self.project = nn.Linear(options.width, feature_dim)

    def pool(self, states: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """States (N, L, width), padding (N, L) True where nothing stands -> features (N, slots, D)."""
        queries = self.queries.expand(len(states), -1, -1)
        attended, _ = self.attend(queries, states, states, key_padding_mask=padding, need_weights=False)
        if padding is None:
            mean = states.mean(dim=1, keepdim=True)
        else:
            keep = (~padding).unsqueeze(-1).to(states.dtype)
            mean = (states * keep).sum(dim=1, keepdim=True) / keep.sum(dim=1, keepdim=True).clamp_min(1.0)
        return to_sphere(self.project(attended + mean), self.scale)


class PatchEncoder(BindEncoder):
    """Pictures or log-mel sounds: (N, C, height, width) in [-1, 1] -> (N, slots, D)."""

    def __init__(
        self, options: EncoderOptions, shape: tuple[int, int, int], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, slots, feature_dim, scale)
        self.shape = shape
        channels, height, width = shape
        halvings = int(math.log2(options.patch))
        stem: list[nn.Module] = []
        for step in range(halvings):
            wide = options.width // 2 ** (halvings - 1 - step)
            stem.append(nn.Conv2d(channels, wide, kernel_size=3, stride=2, padding=1))
            if step < halvings - 1:
                stem.append(nn.GELU())
            channels = wide
        self.stem = nn.Sequential(*stem)
        patches = (height // options.patch) * (width // options.patch)
        self.positions = nn.Parameter(torch.randn(1, patches, options.width) * 0.02)

    def forward(self, media: torch.Tensor) -> torch.Tensor:
        if tuple(media.shape[1:]) != self.shape:
            raise ValueError(
                f"encoder: media have shape {tuple(media.shape)}, expected (N, {', '.join(map(str, self.shape))})"
            )
        patches = self.stem(media).flatten(2).transpose(1, 2)  # (N, L, width)
        return self.pool(self.blocks(patches + self.positions))


class TextEncoder(BindEncoder):
    """Captions: ids (N, L) and mask (N, L), 1 where a token stands -> (N, slots, D)."""

    def __init__(
        self, options: EncoderOptions, vocab_size: int, max_length: int, slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, slots, feature_dim, scale)
        self.embed = nn.Embedding(vocab_size, options.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(1, max_length, options.width) * 0.02)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        length = ids.shape[1]
        if length > self.positions.shape[1]:
            raise ValueError(f"text encoder: captions of {length} tokens, at most {self.positions.shape[1]} fit")
        if not bool(mask.any(dim=1).all()):
            raise ValueError("text encoder: a caption is empty")
        padding = mask == 0
        states = self.blocks(self.embed(ids) + self.positions[:, :length], src_key_padding_mask=padding)
        return self.pool(states, padding)


class BindEncoders(nn.Module):
    """The encoders of all modalities and the temperature of the contrastive loss that binds them."""

    def __init__(self, config: CoDi2Config) -> None:
        super().__init__()
        common = (config.feature_tokens, config.feature_dim, config.scale)
        self.scale = config.scale
        self.media = nn.ModuleDict(
            {name: PatchEncoder(config.encoder(name), config.media_shape(name), *common) for name in MODALITIES}
        )
        self.text = TextEncoder(config.text_encoder, config.vocab_size, config.text_max_length, *common)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's initial value

    def features(self, modality: str, media: torch.Tensor) -> torch.Tensor:
        """Media (N, C, height, width) in [-1, 1] -> what stands in a medium's slots, (N, slots, D)."""
        return self.media[modality](media)

    def _bound(self, features: torch.Tensor) -> torch.Tensor:
        return to_sphere(features.mean(dim=1), self.scale)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) in [-1, 1] -> (N, D) of length `scale`."""
        return self._bound(self.features("image", images))

    def encode_audio(self, mels: torch.Tensor) -> torch.Tensor:
        """(N, 1, mels, frames) in [-1, 1] -> (N, D) of length `scale`."""
        return self._bound(self.features("audio", mels))

    def encode_text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (N, L) -> (N, D) of length `scale`."""
        return self._bound(self.text(ids, mask))
