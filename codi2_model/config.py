"""The one door to the model's shape: `CoDi2Config`, a transformers configuration with typed, validated parts.

- every part (encoder, decoder, sound front end, head, loss weights) is a frozen dataclass of `codi2_model.options`; an
  unknown key is an error that names it;
- a part is replaced by config: an encoder by the name of a published family, a decoder by a published pipeline;
- a preset is a JSON file in `presets/`; every field of it, nested ones too, can be overridden by name;
- `save_pretrained` / `from_pretrained` as everywhere in transformers.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import field
from importlib import resources
from typing import Any, ClassVar

from transformers import PretrainedConfig

from codi2_model.options import (
    AudioOptions,
    DecoderOptions,
    EncoderOptions,
    FamilyOptions,
    HeadOptions,
    LoraOptions,
    LossWeights,
    PipelineOptions,
    TextStatesOptions,
    TransformerOptions,
    VideoOptions,
    build_part,
)

MODALITIES = ("image", "audio", "video")
DECODER_INPUTS = ("features", "states", "both")
Decoder = DecoderOptions | TransformerOptions | PipelineOptions

_PARTS: dict[str, type] = {
    "image_encoder": EncoderOptions,
    "audio_encoder": EncoderOptions,
    "video_encoder": EncoderOptions,
    "text_encoder": EncoderOptions,
    "image_decoder": DecoderOptions,
    "audio_decoder": DecoderOptions,
    "video_decoder": DecoderOptions,
    "audio": AudioOptions,
    "video": VideoOptions,
    "head": HeadOptions,
    "lora": LoraOptions,
    "loss_weights": LossWeights,
    "text_states": TextStatesOptions,
}


class CoDi2Config(PretrainedConfig):
    """The shape of a CoDi-2 model. Without arguments: the tiny preset."""

    model_type: ClassVar[str] = "codi2"  # type: ignore[misc]

    modalities: tuple[str, ...] = MODALITIES
    """Those that have an encoder and a decoder; text is always there."""
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
    """An installed package that carries a GGUF file of the language model and its tokenizer, a folder as transformers saves
    it, or a name on the hub; None: from scratch."""
    lora: LoraOptions | None = None
    """Train adapters in the language model instead of its own weights."""
    pad_token_id: int = 0
    eos_token_id: int = 4
    """The token that ends a turn."""
    first_media_token: int = 5
    """Id of the slot token <media>; the begin and end tokens of the modalities follow it."""
    feature_dim: int = 128
    feature_tokens: int = 1
    """Feature slots per medium."""
    parallel_slots: bool = False
    """Predict all slots of a medium at once: before the slots of what the assistant sends stand as many query tokens, at
    whose hidden states they are predicted. False: one after the other, each from the hidden state before it, as published."""
    decoder_input: str = "features"
    """What decoders are conditioned on: the `features` that the language model predicts, the hidden `states` that it predicts
    them from, or `both`."""
    caption_layers: int = 0
    """Layers of the caption reader (`modules/caption_reader.py`), through which decoders learn to draw captions before the
    language model guides them. 0: no reader. Needs text_states, and decoder_input that is not `features`."""
    feature_scale: float | None = None
    """Length of a feature vector; None: sqrt(feature_dim), so that a coordinate has unit variance."""
    image_size: int = 32
    text_max_length: int = 64
    """Tokens of a caption that the text encoder sees; longer ones are cut."""
    use_reference: bool = True
    """Give decoders the source of an edit as reference channels."""
    text_states: TextStatesOptions | None = None
    """A pretrained text encoder whose states the language model reads beside its own embeddings; None: none."""
    diffusion_into_llm: bool = True
    """Let the diffusion loss reach the LLM (through the aligner); else it trains the aligner alone."""
    sampling_steps: int = 12
    guidance: float = 2.0
    """How decoders sample where nothing else is asked for: a model young in its training does best with few steps."""
    max_media: int = 8
    """Media of one reply."""
    self_contained: bool = True
    """Checkpoints hold all weights. False: those of frozen published parts stay out, and are read from their sources again."""
    audio: AudioOptions = field(default_factory=AudioOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    head: HeadOptions = field(default_factory=HeadOptions)
    families: dict[str, FamilyOptions] = field(default_factory=dict)
    """Published encoders in use, by name."""
    image_encoder: EncoderOptions | str = field(default_factory=EncoderOptions)
    """Sizes of an encoder of our own, or the name of a family."""
    audio_encoder: EncoderOptions | str = field(default_factory=lambda: EncoderOptions(depth=3))
    video_encoder: EncoderOptions | str = field(default_factory=lambda: EncoderOptions(depth=2, patch=8))
    text_encoder: EncoderOptions | str = field(default_factory=lambda: EncoderOptions(depth=2))
    """Of our own it learns beside the others in the first stage, which published encoders have behind them."""
    image_decoder: Decoder = field(default_factory=DecoderOptions)
    audio_decoder: Decoder = field(default_factory=lambda: DecoderOptions(channels=(48, 64, 96)))
    video_decoder: Decoder = field(default_factory=lambda: DecoderOptions(patch=4, channels=(64, 96)))
    loss_weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self, **kwargs: Any) -> None:
        self.modalities = tuple(self.modalities)
        for name, cls in _PARTS.items():
            value = getattr(self, name)
            if isinstance(value, dict):
                kind = decoder_class(value) if name.endswith("_decoder") else cls
                setattr(self, name, build_part(kind, value, name))
        for name, value in self.families.items():
            if isinstance(value, dict):
                self.families[name] = build_part(FamilyOptions, value, f"families.{name}")
        self._check()
        super().__post_init__(**kwargs)

    def _check(self) -> None:
        for name in (
            "vocab_size",
            "max_length",
            "feature_dim",
            "feature_tokens",
            "image_size",
            "text_max_length",
            "sampling_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"config: {name} is {getattr(self, name)}, must be at least 1")
        for modality in self.modalities:
            if modality not in MODALITIES:
                raise ValueError(f"config: no modality '{modality}': known are {', '.join(MODALITIES)}")
        last = self.query_ids()[-1] if self.parallel_slots else self.end_id(MODALITIES[-1])
        if max(self.pad_token_id, self.eos_token_id, last) >= self.vocab_size:
            raise ValueError(f"config: vocab_size {self.vocab_size} leaves no room for the special tokens")
        if self.decoder_input not in DECODER_INPUTS:
            raise ValueError(
                f"config: decoder_input is '{self.decoder_input}', must be one of {', '.join(DECODER_INPUTS)}"
            )
        if self.caption_layers and (self.text_states is None or self.decoder_input == "features"):
            raise ValueError("config: caption_layers needs text_states, and decoder_input states or both")
        for modality in self.modalities:
            self._check_sides(modality)

    def _check_sides(self, modality: str) -> None:
        """Our own encoders and decoders halve a medium's sides; nothing may be left over."""
        encoder = self.encoder(modality)
        if isinstance(encoder, str) and encoder not in self.families:
            raise ValueError(f"config: {modality}_encoder names the family '{encoder}', which `families` lacks")
        for name, part in ((f"{modality}_encoder", encoder), (f"{modality}_decoder", self.decoder(modality))):
            if isinstance(part, TransformerOptions):
                sides = self.media_shape(modality)[1:]
                if len(sides) != len(part.patch) or any(s % p for s, p in zip(sides, part.patch, strict=True)):
                    raise ValueError(f"config: {name} cuts {sides} into patches of {part.patch}, which leaves a rest")
                if part.upscale is not None and modality != "image":
                    raise ValueError(f"config: {name}.upscale is for images alone")
            if not isinstance(part, EncoderOptions | DecoderOptions):
                continue
            if len(self.media_shape(modality)) < 3:
                raise ValueError(f"config: {name} takes sounds as mel pictures, but audio.form is {self.audio.form}")
            fold = part.patch * (2 ** (len(part.channels) - 1) if isinstance(part, DecoderOptions) else 1)
            for size in self.media_shape(modality)[-2:]:
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

    def query_ids(self) -> list[int]:
        """The tokens at whose hidden states the slots of a medium are predicted, one a slot; none with `parallel_slots` off."""
        first = self.end_id(MODALITIES[-1]) + 1
        return [first + n for n in range(self.feature_tokens)] if self.parallel_slots else []

    @property
    def medium_tokens(self) -> int:
        """Tokens of a medium in a reply."""
        return 2 + self.feature_tokens + len(self.query_ids())

    @property
    def decoder_dim(self) -> int:
        """Width of what decoders hear of a slot."""
        return self.feature_dim if self.decoder_input == "features" else self.hidden_size

    def encoder(self, modality: str) -> EncoderOptions | str:
        return getattr(self, f"{modality}_encoder")

    def decoder(self, modality: str) -> Decoder:
        return getattr(self, f"{modality}_decoder")

    def media_shape(self, modality: str) -> tuple[int, ...]:
        """A medium as tensor: picture (3, S, S), sound (1, mels, frames) or (1, samples), clip (3, T, S, S)."""
        if modality == "image":
            return (3, self.image_size, self.image_size)
        if modality == "audio":
            return (1, self.audio.mels, self.audio.frames) if self.audio.form == "mel" else (1, self.audio.samples)
        if modality == "video":
            return (3, self.video.frames, self.video.size, self.video.size)
        raise ValueError(f"no modality '{modality}': known are {', '.join(MODALITIES)}")

    def to_dict(self) -> dict[str, Any]:
        output = super().to_dict()
        for name in _PARTS:
            if dataclasses.is_dataclass(output.get(name)):
                output[name] = _plain(output[name])
        output["families"] = {name: _plain(value) for name, value in self.families.items()}
        output["modalities"] = list(self.modalities)
        output.pop("_name_or_path", None)  # where it was read from, which no file of a checkpoint shall say
        return output

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> CoDi2Config:
        """The preset of that name; keyword arguments replace fields, dicts merge into the nested ones unless they name another `kind`.

        Raises ValueError for a preset or a field that does not exist.
        """
        folder = resources.files("codi2_model.presets")
        path = folder.joinpath(f"{name}.json")
        if not path.is_file():
            known = sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json"))
            raise ValueError(f"no model preset '{name}': known are {', '.join(known)}")
        values = json.loads(path.read_text(encoding="utf-8"))
        for key, value in overrides.items():
            old = values.get(key)
            merge = (
                isinstance(value, dict)
                and isinstance(old, dict)
                and value.get("kind", old.get("kind")) == old.get("kind")
            )
            values[key] = {**old, **value} if merge else value
        known_keys = set(cls.__dataclass_fields__)  # type: ignore[attr-defined]
        for key in values:
            if key not in known_keys:
                raise ValueError(f"model config: unknown key '{key}'")
        return cls(**values)


def decoder_class(values: dict[str, Any]) -> type:
    """The options' class of a decoder: `kind` names a published pipeline or our transformer; a UNet of ours has none."""
    if "kind" not in values:
        return DecoderOptions
    return TransformerOptions if values["kind"] == TransformerOptions.kind else PipelineOptions


def _plain(part: Any) -> Any:
    """A part as JSON would read it again."""
    return json.loads(json.dumps(dataclasses.asdict(part)))
