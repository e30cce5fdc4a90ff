"""Packages with published weights that a training config needs, determined without importing torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from codi2_datasets.pretrained.packages import PACKAGES, PERCEPTUAL
from codi2_model.training.config import PRESETS, ConfigError, TrainConfig


def packages_of(config: TrainConfig) -> set[str]:
    """Names of required packages, as in `codi2_datasets.pretrained.packages`. Raises ConfigError for an unknown preset."""
    file = PRESETS / f"{config.preset}.json"
    if not file.is_file():
        available = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.json")))
        raise ConfigError(f"preset {config.preset}: no such model preset; available: {available}")
    preset = json.loads(file.read_text(encoding="utf-8"))
    model = {**preset, **config.model}
    extra = {"peft"} if model.get("lora") else set()
    if config.decoders.steps and config.decoders.perceptual:
        extra |= set(PERCEPTUAL)
    return extra | {value for value in strings(model) if value in PACKAGES}


def strings(value: Any) -> Iterator[str]:
    """Every string in nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)
