"""The one door to the model's shape: `CoDi2Config`, a transformers configuration with typed, validated parts.

- every part (encoder, decoder, sound front end, loss weights) is a frozen dataclass; an unknown key is an error that names it;
- a preset is a JSON file in `presets/`; every field of it, nested ones too, can be overridden by name;
- `save_pretrained` / `from_pretrained` as everywhere in transformers.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, ClassVar, TypeVar

from transformers import PretrainedConfig

MODALITIES = ("image", "audio")


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """A small transformer over patches or tokens."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    patch: int = 4
    """Pixels (or mel bins and frames) per side of a patch; a power of two, as the convolutional stem halves. Text has none."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        if self.patch < 2 or self.patch & (self.patch - 1):
            raise ValueError(f"patch {self.patch} is no power of two above 1")


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """A UNet with a diffusion schedule."""

    patch: int = 2
    """Pixels folded into channels before the UNet (space to depth), so that small machines can train it."""
    channels: tuple[int, ...] = (64, 96, 128)
    sketch: int = 16
    """Input channels that the features fill, 8 x 8 stretched over the UNet's grid: layout is learnt far sooner with them."""
    layers_per_block: int = 1
    attention: bool = False
    """Self-attention at the lowest resolution."""
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

    def __post_init__(self) -> None:
        if self.prediction_type not in ("sample", "v_prediction", "epsilon"):
            raise ValueError(f"prediction_type '{self.prediction_type}' is none of sample, v_prediction, epsilon")
        for channels in self.channels:
            if channels % self.norm_groups:
                raise ValueError(f"channels {channels} is no multiple of norm_groups {self.norm_groups}")


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """The sound front end: a clip of fixed length as a log-mel picture in [-1, 1]."""

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
class LossWeights:
    """What the parts of the loss count; 0 leaves a part out (and saves its cost)."""

    tokens: float = 1.0
    feature_cosine: float = 1.0
    feature_mse: float = 0.1
    diffusion: float = 0.5

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 0:
                raise ValueError(f"loss weight {name} is negative: {value}")


_PARTS: dict[str, type] = {
    "image_encoder": EncoderOptions,
    "audio_encoder": EncoderOptions,
    "text_encoder": EncoderOptions,
    "image_decoder": DecoderOptions,
    "audio_decoder": DecoderOptions,
    "audio": AudioOptions,
    "loss_weights": LossWeights,
}


class CoDi2Config(PretrainedConfig):
    """The shape of a CoDi-2 model. Without arguments: the tiny preset."""

    model_type: ClassVar[str] = "codi2"  # type: ignore[misc]

    vocab_size: int = 4096
    """Rows of the token embedding, media tokens included; the tokenizer may use fewer."""
    max_length: int = 512
    """Tokens of a conversation, feature slots included, reply included."""
    llm: dict[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
        }
    )
    """Options of transformers' LlamaConfig; vocab_size and the positions come from here."""
    llm_source: str | None = None
    """An installed package that carries a GGUF file of the language model and its tokenizer; None: from scratch."""
    pad_token_id: int = 0
    eos_token_id: int = 4
    """The token that ends a turn."""
    first_media_token: int = 5
    """Id of the slot token <media>; the begin and end tokens of image and audio follow it."""
    feature_dim: int = 128
    feature_tokens: int = 1
    """Feature slots per medium."""
    feature_scale: float | None = None
    """Length of a feature vector; None: sqrt(feature_dim), so that a coordinate has unit variance."""
    image_size: int = 32
    text_max_length: int = 64
    """Tokens of a caption that the text encoder sees; longer ones are cut."""
    use_reference: bool = True
    """Give decoders the source of an edit as reference channels."""
    diffusion_into_llm: bool = True
    """Let the diffusion loss reach the LLM (through the aligner); else it trains the aligner alone."""
    max_media: int = 8
    """Media of one reply."""
    audio: AudioOptions = field(default_factory=AudioOptions)
    image_encoder: EncoderOptions = field(default_factory=EncoderOptions)
    audio_encoder: EncoderOptions = field(default_factory=lambda: EncoderOptions(depth=3))
    text_encoder: EncoderOptions = field(default_factory=lambda: EncoderOptions(depth=2))
    image_decoder: DecoderOptions = field(default_factory=DecoderOptions)
    audio_decoder: DecoderOptions = field(default_factory=lambda: DecoderOptions(channels=(48, 64, 96)))
    loss_weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self, **kwargs: Any) -> None:
        for name, cls in _PARTS.items():
            value = getattr(self, name)
            if isinstance(value, dict):
                setattr(self, name, build_part(cls, value, name))
        self._check()
        super().__post_init__(**kwargs)

    def _check(self) -> None:
        for name in ("vocab_size", "max_length", "feature_dim", "feature_tokens", "image_size", "text_max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"config: {name} is {getattr(self, name)}, must be at least 1")
        if max(self.pad_token_id, self.eos_token_id, self.end_id(MODALITIES[-1])) >= self.vocab_size:
            raise ValueError(f"config: vocab_size {self.vocab_size} leaves no room for the special tokens")
        sides = {
            "image_encoder": (self.image_size,),
            "image_decoder": (self.image_size,),
            "audio_encoder": (self.audio.mels, self.audio.frames),
            "audio_decoder": (self.audio.mels, self.audio.frames),
        }
        for name, sizes in sides.items():
            part = getattr(self, name)
            fold = part.patch * (2 ** (len(part.channels) - 1) if isinstance(part, DecoderOptions) else 1)
            for size in sizes:
                if size % fold:
                    raise ValueError(f"config: {name} halves {size} down by {fold}, which leaves a rest")

    @property
    def scale(self) -> float:
        """Length of every feature vector."""
        return self.feature_dim**0.5 if self.feature_scale is None else self.feature_scale

    @property
    def hidden_size(self) -> int:
        return int(self.llm["hidden_size"])

    @property
    def slot_id(self) -> int:
        """The token that holds the place of a feature."""
        return self.first_media_token

    def begin_id(self, modality: str) -> int:
        return self.first_media_token + 1 + 2 * MODALITIES.index(modality)

    def end_id(self, modality: str) -> int:
        return self.begin_id(modality) + 1

    def encoder(self, modality: str) -> EncoderOptions:
        return getattr(self, f"{modality}_encoder")

    def decoder(self, modality: str) -> DecoderOptions:
        return getattr(self, f"{modality}_decoder")

    def media_shape(self, modality: str) -> tuple[int, int, int]:
        """(channels, height, width) of a medium as tensor."""
        if modality == "image":
            return (3, self.image_size, self.image_size)
        if modality == "audio":
            return (1, self.audio.mels, self.audio.frames)
        raise ValueError(f"no modality '{modality}': known are {', '.join(MODALITIES)}")

    def to_dict(self) -> dict[str, Any]:
        output = super().to_dict()
        for name in _PARTS:
            if dataclasses.is_dataclass(output.get(name)):
                output[name] = json.loads(json.dumps(dataclasses.asdict(output[name])))
        return output

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> CoDi2Config:
        """The preset of that name; keyword arguments replace fields, dicts merge into the nested ones.

        Raises ValueError for a preset or a field that does not exist.
        """
        folder = resources.files("codi2_model.presets")
        path = folder.joinpath(f"{name}.json")
        if not path.is_file():
            known = sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json"))
            raise ValueError(f"no model preset '{name}': known are {', '.join(known)}")
        values = json.loads(path.read_text(encoding="utf-8"))
        for key, value in overrides.items():
            merge = isinstance(value, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **value} if merge else value
        known_keys = set(cls.__dataclass_fields__)  # type: ignore[attr-defined]
        for key in values:
            if key not in known_keys:
                raise ValueError(f"model config: unknown key '{key}'")
        return cls(**values)


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
