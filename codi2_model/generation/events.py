"""What a reply may be (`Options`) and how it tells of itself while it is written (events)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codi2_model.config import MODALITIES, CoDi2Config


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a reply is written."""

    modalities: tuple[str, ...] = ("text", *MODALITIES)
    """What it may hold. One medium alone, without text: exactly one of it is forced."""
    max_new_tokens: int = 64
    """Text tokens of a reply, its end-of-turn token not counted."""
    steps: int | None = None
    guidance: float | None = None
    """Of the decoders; None: as the model's config says."""
    temperature: float = 0.0
    """0: the most likely token."""
    top_p: float = 1.0
    preview_every: int = 0
    """Steps of a decoder from one preview to the next, in a stream; 0: none."""
    upscale: bool = False
    """Enlarge images for people to look at, where the decoder carries a network for that."""
    force: tuple[str, ...] | None = None
    """The reply's skeleton, ("text", "image") say: its parts come in this order, whatever the model would choose."""

    def __post_init__(self) -> None:
        known = ("text", *MODALITIES)
        for name in (*self.modalities, *(self.force or ())):
            if name not in known:
                raise ValueError(f"no modality '{name}': known are {', '.join(known)}")
        if not self.modalities:
            raise ValueError("modalities: none is allowed in the reply")
        if self.force is not None and not self.force:
            raise ValueError("force: the skeleton is empty")
        if self.max_new_tokens < 0 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError("max_new_tokens and temperature must not be negative, top_p must lie in (0, 1]")

    def sampling(self, config: CoDi2Config) -> tuple[int, float]:
        """(steps, guidance) of the decoders of such a model."""
        steps = config.sampling_steps if self.steps is None else self.steps
        return steps, config.guidance if self.guidance is None else self.guidance

    def skeleton(self) -> tuple[str, ...] | None:
        if self.force is not None:
            return self.force
        return self.modalities if len(self.modalities) == 1 and self.modalities[0] != "text" else None


@dataclass(frozen=True)
class TextDelta:
    """New text of a reply."""

    text: str


@dataclass(frozen=True)
class MediumBegun:
    """The model has decided on a medium; `number` counts the reply's media from 0."""

    number: int
    modality: str


@dataclass(frozen=True)
class Progress:
    """A medium is being decoded."""

    number: int
    step: int
    steps: int
    preview: Any = None
    """The medium as it looks so far, where previews are asked for."""


@dataclass(frozen=True)
class MediumDone:
    """A medium is there: a PIL picture, float32 mono samples at the config's rate, or a clip's frames
    (T, S, S, 3) of uint8, 8 a second."""

    number: int
    modality: str
    value: Any


Event = TextDelta | MediumBegun | Progress | MediumDone
