"""Options of ImageBind: trunks and their sizes; the defaults are those of the published `imagebind_huge`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

TRUNKS = ("vision", "text", "audio", "depth", "thermal", "imu")


@dataclass(frozen=True, kw_only=True)
class TrunkOptions:
    """Sizes of the transformer of one modality. Shape, patch and stride have the axes of the modality."""

    width: int
    depth: int
    heads: int
    shape: tuple[int, ...]
    """Input shape: vision (frames, height, width); audio (mels, frames); depth, thermal (height, width);
    imu (samples,); text (tokens,)."""
    channels: int = 1
    patch: tuple[int, ...] = ()
    """Empty for text, which has tokens."""
    stride: tuple[int, ...] = ()
    """Empty: equal to the patch, without overlap."""
    vocab: int = 0
    """Vocabulary size, for text only."""

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads, self.channels, *self.shape) < 1:
            raise ValueError("width, depth, heads, channels and shape must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        for name in ("patch", "stride"):
            value = getattr(self, name)
            if value and (len(value) != len(self.shape) or min(value) < 1):
                raise ValueError(f"{name} {value} does not fit shape {self.shape}")
        if any(p > s for p, s in zip(self.patch, self.shape, strict=False)):
            raise ValueError(f"patch {self.patch} is larger than shape {self.shape}")

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride of the patches."""
        return self.stride or self.patch

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of patches per axis."""
        return tuple((s - p) // d + 1 for s, p, d in zip(self.shape, self.patch, self.steps, strict=True))

    @property
    def patches(self) -> int:
        """Number of patches of one input."""
        return math.prod(self.grid)


PUBLISHED = {
    "vision": TrunkOptions(width=1280, depth=32, heads=16, shape=(2, 224, 224), channels=3, patch=(2, 14, 14)),
    "text": TrunkOptions(width=1024, depth=24, heads=16, shape=(77,), vocab=49408),
    "audio": TrunkOptions(width=768, depth=12, heads=12, shape=(128, 204), patch=(16, 16), stride=(10, 10)),
    "depth": TrunkOptions(width=384, depth=12, heads=8, shape=(224, 224), patch=(16, 16)),
    "thermal": TrunkOptions(width=768, depth=12, heads=12, shape=(224, 224), patch=(16, 16)),
    "imu": TrunkOptions(width=512, depth=6, heads=8, shape=(2000,), channels=6, patch=(8,)),
}
"""The sizes of `imagebind_huge`."""


@dataclass(frozen=True, kw_only=True)
class ImageBindOptions:
    """Trunks of an ImageBind model and their sizes."""

    trunks: tuple[str, ...] = TRUNKS
    out_dim: int = 1024
    vision: TrunkOptions = PUBLISHED["vision"]
    text: TrunkOptions = PUBLISHED["text"]
    audio: TrunkOptions = PUBLISHED["audio"]
    depth: TrunkOptions = PUBLISHED["depth"]
    thermal: TrunkOptions = PUBLISHED["thermal"]
    imu: TrunkOptions = PUBLISHED["imu"]

    def __post_init__(self) -> None:
        unknown = [name for name in self.trunks if name not in TRUNKS]
        if unknown or not self.trunks or len(set(self.trunks)) != len(self.trunks):
            raise ValueError(f"trunks {self.trunks}: expected a subset of {', '.join(TRUNKS)}, without repetition")
        if self.out_dim < 1:
            raise ValueError(f"out_dim is {self.out_dim}, must be at least 1")
        for name in TRUNKS:
            _check_axes(name, self.trunk(name))

    def trunk(self, name: str) -> TrunkOptions:
        """Sizes of a trunk. Raises ValueError for an unknown name."""
        if name not in TRUNKS:
            raise ValueError(f"no trunk '{name}', expected one of {', '.join(TRUNKS)}")
        return getattr(self, name)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageBindOptions:
        """Build from nested dicts; missing keys default to the published sizes. Raises ValueError for an unknown key."""
        valid_keys = {f.name for f in fields(cls)}
        options: dict[str, Any] = {}
        for key, value in values.items():
            if key not in valid_keys:
                raise ValueError(f"imagebind: unknown key '{key}' (valid keys: {', '.join(sorted(valid_keys))})")
            options[key] = _sizes(key, value) if key in TRUNKS else _tuple(value)
        return cls(**options)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _sizes(name: str, values: Mapping[str, Any]) -> TrunkOptions:
    valid_keys = {f.name for f in fields(TrunkOptions)}
    for key in values:
        if key not in valid_keys:
            raise ValueError(f"imagebind: unknown key '{name}.{key}' (valid keys: {', '.join(sorted(valid_keys))})")
    try:
        return replace(PUBLISHED[name], **{key: _tuple(value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"imagebind: {name}: {error}") from None


def _check_axes(name: str, options: TrunkOptions) -> None:
    """Check the requirements of a trunk's forward pass."""
    axes = {"vision": 3, "text": 1, "imu": 1}.get(name, 2)
    if len(options.shape) != axes:
        raise ValueError(f"{name}: shape {options.shape} has {len(options.shape)} axes, expected {axes}")
    if name == "text" and options.vocab < 1:
        raise ValueError("text: vocab must be at least 1")
    if name != "text" and not options.patch:
        raise ValueError(f"{name}: patch is missing")
    if name == "vision" and options.patch[0] != options.shape[0]:
        raise ValueError(f"vision: a patch spans {options.patch[0]} frames, expected all {options.shape[0]}")
