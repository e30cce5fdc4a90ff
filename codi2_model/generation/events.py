"""Generation options (`Options`), and the events of a streamed reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codi2_model.config import MODALITIES, CoDi2Config


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a generated reply. Raises ValueError for invalid values."""

    modalities: tuple[str, ...] = ("text", *MODALITIES)
    """Allowed modalities. A single one without text forces exactly one medium of it."""
    max_new_tokens: int = 64
    """Maximum number of text tokens of a reply, without the end-of-turn token."""
    steps: int | None = None
    guidance: float | None = None
    """steps, guidance: sampling options of the decoders; None: as in the model's config."""
    temperature: float = 0.0
    """Sampling temperature of text; 0: always the most likely token."""
    top_p: float = 1.0
    preview_every: int = 0
    """Decoder steps between two previews in a stream; 0: no previews."""
    upscale: bool = False
    """Enlarge images for display, if the decoder has an upscaler."""
    force: tuple[str, ...] | None = None
    """Forced order of the parts of the reply, for example ("text", "image")."""

    def __post_init__(self) -> None:
        names = ("text", *MODALITIES)
        for name in (*self.modalities, *(self.force or ())):
            if name not in names:
                raise ValueError(f"unknown modality '{name}', expected one of {', '.join(names)}")
        if not self.modalities:
            raise ValueError("modalities must not be empty")
        if self.force is not None and not self.force:
            raise ValueError("force must not be empty")
        for field in ("max_new_tokens", "temperature"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} is {getattr(self, field)}, must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, must lie in (0, 1]")

    def sampling(self, config: CoDi2Config) -> tuple[int, float]:
        """(steps, guidance) of the decoders, with the config's defaults."""
        steps = config.sampling_steps if self.steps is None else self.steps
        return steps, config.guidance if self.guidance is None else self.guidance

    def skeleton(self) -> tuple[str, ...] | None:
        """Forced order of the parts; None: the model chooses."""
        if self.force is not None:
            return self.force
        return self.modalities if len(self.modalities) == 1 and self.modalities[0] != "text" else None


@dataclass(frozen=True)
class TextDelta:
    """New text of a reply."""

    text: str


@dataclass(frozen=True)
class MediumBegun:
    """The model has begun a medium; `number` counts the media of the reply from 0."""

    number: int
    modality: str


@dataclass(frozen=True)
class Progress:
    """Progress of decoding a medium."""

    number: int
    step: int
    steps: int
    preview: Any = None
    """The unfinished medium, if previews are requested."""


@dataclass(frozen=True)
class MediumDone:
    """A medium is decoded: a PIL image, float32 mono samples at the config's rate, or video frames (T, S, S, 3) of uint8 at 8
    frames per second."""

    number: int
    modality: str
    value: Any


Event = TextDelta | MediumBegun | Progress | MediumDone
