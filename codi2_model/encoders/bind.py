"""Small encoders, one per modality, in one feature space learned with a contrastive loss (CLIP, ImageBind).

- Images, log-mel audio and videos: a convolutional stem, then a pre-norm transformer over the patches of all frames.
- Captions: a transformer over token ids.
- Pooling: mean of the patches plus attention by one learned query per feature slot, Linear to D, scaled to fixed length.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from codi2_model.config import CoDi2Config
from codi2_model.options import ENCODERS, EncoderOptions


def scale_norm(features: torch.Tensor, scale: float) -> torch.Tensor:
    """Scale every vector of the last axis to the length `scale`."""
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
    """Base of the encoders: transformer blocks, and pooling of (N, L, width) into `slots` features of length `scale`."""

    def __init__(self, options: EncoderOptions, slots: int, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.blocks = _blocks(options)
        self.queries = nn.Parameter(torch.randn(1, slots, options.width) * 0.02)
        self.attend = nn.MultiheadAttention(options.width, options.heads, batch_first=True)
        self.project = nn.Linear(options.width, feature_dim)

    def pool(self, states: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """States (N, L, width), padding (N, L) bool -> features (N, slots, D)."""
        queries = self.queries.expand(len(states), -1, -1)
        attended, _ = self.attend(queries, states, states, key_padding_mask=padding, need_weights=False)
        if padding is None:
            mean = states.mean(dim=1, keepdim=True)
        else:
            keep = (~padding).unsqueeze(-1).to(states.dtype)
            mean = (states * keep).sum(dim=1, keepdim=True) / keep.sum(dim=1, keepdim=True).clamp_min(1.0)
        return scale_norm(self.project(attended + mean), self.scale)


class PatchEncoder(BindEncoder):
    """Encoder of images, log-mel audio or videos.

    (N, C, height, width) or (N, C, T, height, width) in [-1, 1] -> (N, slots, D). Raises ValueError for another shape.
    """

    def __init__(
        self, options: EncoderOptions, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, slots, feature_dim, scale)
        self.shape = shape
        channels, height, width = shape[0], *shape[-2:]
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
        if len(shape) == 4:
            self.times = nn.Parameter(torch.randn(1, shape[1], 1, options.width) * 0.02)

    def forward(self, media: torch.Tensor) -> torch.Tensor:
        if tuple(media.shape[1:]) != self.shape:
            raise ValueError(
                f"encoder: media have shape {tuple(media.shape)}, expected (N, {', '.join(map(str, self.shape))})"
            )
        if media.ndim == 4:
            return self.pool(self.blocks(self._patches(media)))
        frames = self._patches(media.transpose(1, 2).flatten(0, 1)).unflatten(0, media.shape[:1] + media.shape[2:3])
        return self.pool(self.blocks((frames + self.times).flatten(1, 2)))

    def _patches(self, images: torch.Tensor) -> torch.Tensor:
        return self.stem(images).flatten(2).transpose(1, 2) + self.positions  # (N, L, width)


class TextEncoder(BindEncoder):
    """Encoder of captions: ids (N, L) and mask (N, L), 1 for tokens -> (N, slots, D).

    Raises ValueError for empty captions and for captions above the maximum length.
    """

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
            raise ValueError(
                f"text encoder: captions of {length} tokens exceed the maximum of {self.positions.shape[1]}"
            )
        if not bool(mask.any(dim=1).all()):
            raise ValueError("text encoder: a caption is empty")
        padding = mask == 0
        states = self.blocks(self.embed(ids) + self.positions[:, :length], src_key_padding_mask=padding)
        return self.pool(states, padding)


class Sketch(nn.Module):
    """Features (N, slots, D) -> the medium at half its resolution, for the reconstruction loss of the stage `align`."""

    def __init__(self, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.shape = (shape[0], *(side // 2 for side in shape[1:]))
        self.unit = scale / feature_dim**0.5
        width = 2 * feature_dim
        self.mlp = nn.Sequential(
            nn.Linear(slots * feature_dim, width),
            nn.GELU(),
            nn.LayerNorm(width),
            nn.Linear(width, math.prod(self.shape)),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.mlp(features.flatten(1) / self.unit).unflatten(1, self.shape)

    def loss(self, features: torch.Tensor, media: torch.Tensor) -> torch.Tensor:
        """Mean squared error against the medium (N, C, ...) in [-1, 1]."""
        pool = F.avg_pool2d if media.ndim == 4 else F.avg_pool3d
        return F.mse_loss(self(features).float(), pool(media, 2))


class Encoders(nn.Module):
    """The encoders of all modalities, and the temperature of the contrastive loss.

    Raises ValueError if a published family has another feature width than the config.
    """

    def __init__(self, config: CoDi2Config) -> None:
        super().__init__()
        self.scale, self.slots = config.scale, config.feature_tokens
        common = (config.feature_tokens, config.feature_dim, config.scale)
        parts = {name: config.encoder(name) for name in config.modalities}
        self.family_of = {name: part for name, part in parts.items() if isinstance(part, str)}
        self.media = nn.ModuleDict(
            {
                name: PatchEncoder(part, config.media_shape(name), *common)
                for name, part in parts.items()
                if isinstance(part, EncoderOptions)
            }
        )
        self.families = nn.ModuleDict(
            {name: self._family(name, config) for name in sorted(set(self.family_of.values()))}
        )
        self.sketches = nn.ModuleDict(
            {
                name: Sketch(config.media_shape(name), *common)
                for name, part in parts.items()
                if isinstance(part, EncoderOptions) and part.reconstruct
            }
        )
        text_options = config.text_encoder
        self.text: TextEncoder | None = None
        if config.text_states is not None:
            self.text_projection = nn.Linear(int(config.text_states.config["hidden_size"]), config.feature_dim)
        elif isinstance(text_options, EncoderOptions):
            self.text = TextEncoder(text_options, config.vocab_size, config.text_max_length, *common)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's initial value

    @staticmethod
    def _family(name: str, config: CoDi2Config) -> nn.Module:
        family = ENCODERS.part(name)({"config": config.families[name].config})
        if family.width != config.feature_dim:
            raise ValueError(
                f"config: feature_dim is {config.feature_dim}, but features of {name} have width {family.width}"
            )
        return family

    def features(self, modality: str, media: torch.Tensor) -> torch.Tensor:
        """Media (N, ...) in [-1, 1] -> features of their slots (N, slots, D), each of length `scale`."""
        family = self.family_of.get(modality)
        if family is None:
            return self.media[modality](media)
        return scale_norm(self.families[family].features(modality, media, self.slots), self.scale)  # type: ignore[operator]

    def encode(self, modality: str, media: torch.Tensor) -> torch.Tensor:
        """Media (N, ...) -> one vector each, (N, D) of length `scale`."""
        return scale_norm(self.features(modality, media).mean(dim=1), self.scale)

    def encode_states(self, states: torch.Tensor) -> torch.Tensor:
        """Pooled states of the pretrained text encoder (N, W) -> (N, D) of length `scale`."""
        return scale_norm(self.text_projection(states), self.scale)

    def encode_text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (N, L) -> (N, D) of length `scale`. Raises ValueError if the config has no text encoder of its own."""
        if self.text is None:
            raise ValueError("published encoders are already aligned: set align.steps to 0")
        return scale_norm(self.text(ids, mask).mean(dim=1), self.scale)
