"""`CoDi2Config`: configuration of a CoDi-2 model, a transformers config with typed and validated parts.

- Every part (encoder, decoder, audio front end, head, loss weights) is a frozen dataclass of `codi2_model.options`. Unknown
  keys are errors.
- The config can replace an encoder by a published family and a decoder by a published pipeline.
- Presets are JSON files in `presets/`. Every field, including nested ones, can be overridden by name.
- `save_pretrained` and `from_pretrained` as in transformers.
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
    """Configuration of a CoDi-2 model. The defaults are the preset `tiny`."""

    model_type: ClassVar[str] = "codi2"  # type: ignore[misc]

    modalities: tuple[str, ...] = MODALITIES
    """Modalities with an encoder and a decoder; text is always supported."""
    vocab_size: int = 4096
    """Rows of the token embedding, including media tokens; the tokenizer may use fewer."""
    max_length: int = 512
    """Maximum number of tokens of a conversation, including feature slots and the reply."""
    llm: dict[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
        }
    )
    """Options of LlamaConfig; vocab_size and the number of positions come from this config."""
    llm_source: str | None = None
    """Published language model with its tokenizer: an installed package with a GGUF file, a transformers folder, or a name on
    the hub. None: random weights and a new tokenizer."""
    lora: LoraOptions | None = None
    """Train low-rank adapters of the language model instead of its own weights."""
    pad_token_id: int = 0
    eos_token_id: int = 4
    """The token that ends a turn."""
    first_media_token: int = 5
    """Id of the slot token <media>, followed by the begin and end tokens of the modalities."""
    feature_dim: int = 128
    feature_tokens: int = 1
    """Feature slots per medium."""
    parallel_slots: bool = False
    """Predict all slots of a medium at once, from the hidden states of as many query tokens before them. False: one after the
    other, each from the hidden state before it, as published."""
    decoder_input: str = "features"
    """What the decoders are conditioned on: the `features` that the language model predicts, the hidden `states` that they are
    predicted from, or `both`."""
    prompt_layers: int = 0
    """Layers of the prompt reader (`modules/prompt_reader.py`), through which the decoders get the text of the user message in
    addition to the language model's states. 0: no reader. Needs text_states, and a decoder_input other than `features`."""
    feature_scale: float | None = None
    """Length of a feature vector; None: sqrt(feature_dim), for unit variance of the coordinates."""
    image_size: int = 32
    text_max_length: int = 64
    """Maximum number of tokens of a caption for the text encoder; longer captions are truncated."""
    use_reference: bool = True
    """Give the decoders the source of an edit as reference channels."""
    text_states: TextStatesOptions | None = None
    """Pretrained text encoder whose states are added to the language model's embeddings; None: not used."""
    diffusion_into_llm: bool = True
    """Backpropagate the diffusion loss through the connector into the language model; False: only into the connector."""
    sampling_steps: int = 12
    guidance: float = 2.0
    """sampling_steps, guidance: default sampling options of the decoders. Models with little training need few steps."""
    max_media: int = 8
    """Maximum number of media in one reply."""
    self_contained: bool = True
    """Checkpoints contain all weights. False: without the weights of frozen published parts, which are loaded from their
    sources."""
    audio: AudioOptions = field(default_factory=AudioOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    head: HeadOptions = field(default_factory=HeadOptions)
    families: dict[str, FamilyOptions] = field(default_factory=dict)
    """Published encoder families in use, by name."""
    image_encoder: EncoderOptions | str = field(default_factory=EncoderOptions)
    """Options of a small encoder, or the name of a family; likewise for the other modalities."""
    audio_encoder: EncoderOptions | str = field(default_factory=lambda: EncoderOptions(depth=3))
    video_encoder: EncoderOptions | str = field(default_factory=lambda: EncoderOptions(depth=2, patch=8))
    text_encoder: EncoderOptions | str = field(default_factory=lambda: EncoderOptions(depth=2))
    """Text encoder of the contrastive stage `align`; not used with published encoders, which are already aligned."""
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
                raise ValueError(f"config: unknown modality '{modality}', expected one of {', '.join(MODALITIES)}")
        last = self.query_ids()[-1] if self.parallel_slots else self.end_id(MODALITIES[-1])
        if max(self.pad_token_id, self.eos_token_id, last) >= self.vocab_size:
            raise ValueError(
                f"config: vocab_size {self.vocab_size} is too small for the special tokens, whose highest id is {last}"
            )
        if self.decoder_input not in DECODER_INPUTS:
            raise ValueError(
                f"config: unknown decoder_input '{self.decoder_input}', expected one of {', '.join(DECODER_INPUTS)}"
            )
        if self.prompt_layers and (self.text_states is None or self.decoder_input == "features"):
            raise ValueError("config: prompt_layers needs text_states, and decoder_input states or both")
        for modality in self.modalities:
            self._check_sides(modality)

    def _check_sides(self, modality: str) -> None:
        """Check that the sides of a medium are divisible by the patches and downsampling of encoder and decoder."""
        encoder = self.encoder(modality)
        if isinstance(encoder, str) and encoder not in self.families:
            raise ValueError(f"config: {modality}_encoder is the family '{encoder}', which is missing in `families`")
        for name, part in ((f"{modality}_encoder", encoder), (f"{modality}_decoder", self.decoder(modality))):
            if isinstance(part, TransformerOptions):
                sides = self.media_shape(modality)[1:]
                if len(sides) != len(part.patch) or any(s % p for s, p in zip(sides, part.patch, strict=True)):
                    raise ValueError(f"config: {name}.patch {part.patch} does not divide the sides {sides}")
                if part.upscale is not None and modality != "image":
                    raise ValueError(f"config: {name}.upscale is supported for images only")
            if not isinstance(part, EncoderOptions | DecoderOptions):
                continue
            if len(self.media_shape(modality)) < 3:
                raise ValueError(f"config: {name} needs audio.form mel, not {self.audio.form}")
            fold = part.patch * (2 ** (len(part.channels) - 1) if isinstance(part, DecoderOptions) else 1)
            for size in self.media_shape(modality)[-2:]:
                if size % fold:
                    raise ValueError(f"config: {name} divides sides by {fold}, which does not divide {size}")

    @property
    def scale(self) -> float:
        """Length of feature vectors."""
        return self.feature_dim**0.5 if self.feature_scale is None else self.feature_scale

    @property
    def hidden_size(self) -> int:
        """Width of the language model."""
        return int(self.llm["hidden_size"])

    @property
    def slot_id(self) -> int:
        """Id of the token of a feature slot."""
        return self.first_media_token

    def begin_id(self, modality: str) -> int:
        """Id of the begin token of a modality."""
        return self.first_media_token + 1 + 2 * MODALITIES.index(modality)

    def end_id(self, modality: str) -> int:
        """Id of the end token of a modality."""
        return self.begin_id(modality) + 1

    def query_ids(self) -> list[int]:
        """Ids of the query tokens, one per slot; empty without `parallel_slots`."""
        first = self.end_id(MODALITIES[-1]) + 1
        return [first + n for n in range(self.feature_tokens)] if self.parallel_slots else []

    @property
    def medium_tokens(self) -> int:
        """Number of tokens of a medium in a reply."""
        return 2 + self.feature_tokens + len(self.query_ids())

    @property
    def decoder_dim(self) -> int:
        """Width of the decoders' input per slot."""
        return self.feature_dim if self.decoder_input == "features" else self.hidden_size

    def encoder(self, modality: str) -> EncoderOptions | str:
        """Encoder options of a modality, or the name of a family."""
        return getattr(self, f"{modality}_encoder")

    def remove_reconstruction(self) -> None:
        """Describe the same model without the encoders' reconstruction networks, which only the stage `align` uses."""
        for modality in self.modalities:
            options = self.encoder(modality)
            if isinstance(options, EncoderOptions):
                setattr(self, f"{modality}_encoder", dataclasses.replace(options, reconstruct=False))

    def decoder(self, modality: str) -> Decoder:
        """Decoder options of a modality."""
        return getattr(self, f"{modality}_decoder")

    def reference_count(self, modality: str) -> int:
        """Maximum number of references of the decoder of a modality."""
        options = self.decoder(modality)
        return options.references if isinstance(options, TransformerOptions) else 1

    def media_shape(self, modality: str) -> tuple[int, ...]:
        """Tensor shape of a medium: image (3, S, S), audio (1, mels, frames) or (1, samples), video (3, T, S, S)."""
        if modality == "image":
            return (3, self.image_size, self.image_size)
        if modality == "audio":
            return (1, self.audio.mels, self.audio.frames) if self.audio.form == "mel" else (1, self.audio.samples)
        if modality == "video":
            return (3, self.video.frames, self.video.size, self.video.size)
        raise ValueError(f"unknown modality '{modality}', expected one of {', '.join(MODALITIES)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in config.json."""
        output = super().to_dict()
        for name in _PARTS:
            if dataclasses.is_dataclass(output.get(name)):
                output[name] = _plain(output[name])
        output["families"] = {name: _plain(value) for name, value in self.families.items()}
        output["modalities"] = list(self.modalities)
        output.pop("_name_or_path", None)  # a local path, which must not be stored in checkpoints
        return output

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> CoDi2Config:
        """Load a preset. Keyword arguments override fields; dicts are merged into nested fields of the same `kind`.

        Raises ValueError for an unknown preset or field.
        """
        folder = resources.files("codi2_model.presets")
        path = folder.joinpath(f"{name}.json")
        if not path.is_file():
            available = sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json"))
            raise ValueError(f"no model preset '{name}'; available: {', '.join(available)}")
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
    """Options class of a decoder by its `kind`: a pipeline or the transformer; without `kind` the UNet."""
    if "kind" not in values:
        return DecoderOptions
    return TransformerOptions if values["kind"] == TransformerOptions.kind else PipelineOptions


def _plain(part: Any) -> Any:
    """A part as plain JSON data."""
    return json.loads(json.dumps(dataclasses.asdict(part)))
