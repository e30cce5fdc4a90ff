"""Where a run begins: a model made by the config, or the weights of a checkpoint that has the same parts.

A checkpoint brings its tokenizer along. What the config says of training and sampling holds; what it says of the parts must
be what the checkpoint was made with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codi2_model.config import CoDi2Config
from codi2_model.training.config import TrainConfig

if TYPE_CHECKING:
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

FREE = (  # settings that no weight hangs on
    "loss_weights", "diffusion_into_llm", "sampling_steps", "guidance", "max_media", "max_length", "text_max_length",
    "self_contained",
)  # fmt: skip
PARTS = (
    "modalities", "vocab_size", "llm", "llm_source", "lora", "pad_token_id", "eos_token_id", "first_media_token",
    "feature_dim", "feature_tokens", "feature_scale", "parallel_slots", "decoder_input", "text_states", "image_size",
    "use_reference", "audio", "video", "head", "families",
    *(f"{name}_encoder" for name in ("image", "audio", "video", "text")),
    *(f"{name}_decoder" for name in ("image", "audio", "video")),
)  # fmt: skip

DESCRIBED = (  # parts whose shape their source says, and where it stands
    ("text_states", "config"), ("families", "config"),
    *((f"{name}_decoder", "components") for name in ("image", "audio", "video")),
)  # fmt: skip


class StartError(ValueError):
    """A run cannot begin with these weights; the message names what differs."""


def model_config(config: TrainConfig) -> CoDi2Config:
    """The model that a training config asks for."""
    weights = config.model.get("loss_weights", {}) | config.mllm.loss_weights
    return CoDi2Config.preset(config.preset, **{**config.model, "loss_weights": weights})


def begin(start: str | Path, config: TrainConfig) -> tuple[CoDi2ForConditionalGeneration, CoDi2Processor]:
    """Model and processor of the checkpoint `start`, under the config's free settings. Raises StartError."""
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    asked = model_config(config)
    check(start, asked)
    processor = CoDi2Processor.from_pretrained(start)
    model = CoDi2ForConditionalGeneration.from_pretrained(start)
    for name in FREE:
        setattr(model.config, name, getattr(asked, name))
    return model, processor.with_config(model.config)


def check(start: str | Path, asked: CoDi2Config) -> None:
    """Raise StartError unless the checkpoint's parts are those asked for; reads its config alone."""
    try:
        have = CoDi2Config.from_pretrained(start)
    except (OSError, ValueError) as error:
        raise StartError(f"{start}: no checkpoint to start from: {str(error).splitlines()[0]}") from error
    if differing := unlike(have, asked):
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise StartError(
            f"{start}: these weights do not fit the config: {differing[0]}{more}; train from scratch instead"
        )


def unlike(have: CoDi2Config, asked: CoDi2Config) -> list[str]:
    """What differs in the parts of two models, in words: 'llm.hidden_size is 64 there, 192 here'."""
    theirs, ours = (json.loads(json.dumps(config.to_dict())) for config in (have, asked))
    for name, filled in DESCRIBED:
        adopt_shapes(theirs.get(name), ours.get(name), filled)
    return [line for name in PARTS for line in differences(name, theirs.get(name), ours.get(name))]


def adopt_shapes(theirs: Any, ours: Any, filled: str) -> None:
    """Take over what a published part's source says of its shape, where the config asked for names the same source alone."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return
    if filled in theirs:
        ours[filled] = {**(theirs[filled] or {}), **(ours.get(filled) or {})}
    for key, value in ours.items():  # families, by their names
        if isinstance(value, dict) and filled in value:
            adopt_shapes(theirs.get(key), value, filled)


def differences(name: str, theirs: Any, ours: Any) -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted({*theirs, *ours})
        return [line for key in keys for line in differences(f"{name}.{key}", theirs.get(key), ours.get(key))]
    return [] if theirs == ours else [f"{name} is {theirs} there, {ours} here"]
