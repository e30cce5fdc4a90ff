"""Warm start: begin a training run with the weights and the tokenizer of a checkpoint.

Settings of training and sampling come from the config (FREE_SETTINGS). Settings that define the model's weights (PARTS)
must equal those of the checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codi2_model.config import CoDi2Config
from codi2_model.training.config import TrainConfig
from codi2_storage.errors import UsageError

if TYPE_CHECKING:
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

FREE_SETTINGS = (  # no weight depends on them
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

SOURCED_PARTS = (  # parts whose shape comes from their source, and the key under which the checkpoint has it
    ("text_states", "config"), ("families", "config"),
    *((f"{name}_decoder", "components") for name in ("image", "audio", "video")),
)  # fmt: skip


def model_config(config: TrainConfig) -> CoDi2Config:
    """The model config of a training config."""
    weights = config.model.get("loss_weights", {}) | config.mllm.loss_weights
    return CoDi2Config.preset(config.preset, **{**config.model, "loss_weights": weights})


def warm_start(start: str | Path, config: TrainConfig) -> tuple[CoDi2ForConditionalGeneration, CoDi2Processor]:
    """Load model and processor of the checkpoint `start`, with the free settings of the config. Raises UsageError."""
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    check(start, config)
    options = model_config(config)
    processor = CoDi2Processor.from_pretrained(start)
    model = CoDi2ForConditionalGeneration.from_pretrained(start)
    for name in FREE_SETTINGS:
        setattr(model.config, name, getattr(options, name))
    return model, processor.with_config(model.config)


def check(start: str | Path, config: TrainConfig) -> None:
    """Raise UsageError unless the parts of the checkpoint equal those of the config. Reads only its config.json.

    The encoders' reconstruction networks, which an export removes, count only if the run has the stage that trains them.
    """
    try:
        existing = CoDi2Config.from_pretrained(start)
    except (OSError, ValueError) as error:
        raise UsageError(f"{start}: not a checkpoint: {str(error).splitlines()[0]}") from error
    wanted = model_config(config)
    if config.align.steps == 0:
        existing.remove_reconstruction()
        wanted.remove_reconstruction()
    if differing := part_differences(existing, wanted):
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise UsageError(
            f"{start}: the weights do not fit the config: {differing[0]}{more}; train from scratch, or change the config"
        )


def part_differences(existing: CoDi2Config, config: CoDi2Config) -> list[str]:
    """Differences in the parts of two models: 'llm.hidden_size is 64 in the checkpoint, 192 in the config'."""
    theirs, ours = (json.loads(json.dumps(options.to_dict())) for options in (existing, config))
    for name, filled in SOURCED_PARTS:
        adopt_shapes(theirs.get(name), ours.get(name), filled)
    return [line for name in PARTS for line in differences(name, theirs.get(name), ours.get(name))]


def adopt_shapes(theirs: Any, ours: Any, filled: str) -> None:
    """Copy the shape of a published part from the checkpoint to a config that only names its source."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return
    if filled in theirs:
        ours[filled] = {**(theirs[filled] or {}), **(ours.get(filled) or {})}
    for key, value in ours.items():  # families by name
        if isinstance(value, dict) and filled in value:
            adopt_shapes(theirs.get(key), value, filled)


def differences(name: str, theirs: Any, ours: Any) -> list[str]:
    """Differences between two values, key by key for nested mappings."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted({*theirs, *ours})
        return [line for key in keys for line in differences(f"{name}.{key}", theirs.get(key), ours.get(key))]
    return [] if theirs == ours else [f"{name} is {theirs} in the checkpoint, {ours} in the config"]
