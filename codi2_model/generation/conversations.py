"""Generation of replies with text and media in any order, for a batch of conversations, with a key-value cache.

- After the begin token of a medium (chosen by the model, or forced), its features are predicted and fed back through
  `embed_features`, as those of input media. Then the medium is closed and the reply continues.
- Media are decoded together, in one batch per modality.
- Each conversation has its own seed, so its reply does not depend on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from codi2_model.config import MODALITIES
from codi2_model.generation.decode_loop import Content, ReplyMedium, Writer, content_of
from codi2_model.generation.events import Event, MediumBegun, MediumDone, Options, Progress, TextDelta
from codi2_model.generation.streaming import ReplyStreamer
from codi2_model.processor import CoDi2Processor, Messages

if TYPE_CHECKING:
    from codi2_model.modeling import CoDi2ForConditionalGeneration

__all__ = [
    "Content", "Event", "MediumBegun", "MediumDone", "Options", "Progress", "TextDelta",
    "generate", "stream",
]  # fmt: skip


@torch.no_grad()
def generate(
    model: CoDi2ForConditionalGeneration,
    processor: CoDi2Processor,
    conversations: Sequence[Messages],
    *,
    modalities: Sequence[str] = ("text", *MODALITIES),
    max_new_tokens: int = 64,
    seed: int | Sequence[int] = 0,
    steps: int | None = None,
    guidance: float | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    force: Sequence[str] | None = None,
    upscale: bool = False,
) -> list[Content]:
    """Generate a reply per conversation, as a list of parts in their order.

    A part is {"type": "text", "text"} or {"type": "image" | "audio" | "video", "value"}: a PIL image, float32 mono samples,
    or uint8 frames. seed: one for all conversations, or one per conversation. Other options as in `Options`.
    Raises ConversationError for a malformed or too long conversation, ValueError for invalid options.
    """
    options = Options(
        modalities=tuple(modalities),
        max_new_tokens=max_new_tokens,
        steps=steps,
        guidance=guidance,
        temperature=temperature,
        top_p=top_p,
        force=None if force is None else tuple(force),
        upscale=upscale,
    )
    seeds = [seed] * len(conversations) if isinstance(seed, int) else list(seed)
    writer = Writer(model, processor, conversations, options, seeds)
    for _ in writer.write():
        pass
    for modality in model.config.modalities:
        writer.decode(modality)
    return [content_of(processor, reply) for reply in writer.replies]


@torch.no_grad()
def stream(
    model: CoDi2ForConditionalGeneration,
    processor: CoDi2Processor,
    conversation: Messages,
    *,
    seed: int = 0,
    **options: Any,
) -> Iterator[Event]:
    """Generate the reply to one conversation as a stream of events. Options as in `Options`.

    The parts equal those of `generate` with the same seed. A medium is decoded as soon as its features are complete.
    """
    yield from events(Writer(model, processor, [conversation], parse_options(options), [seed]))


def parse_options(values: dict[str, Any]) -> Options:
    """`Options` from plain data with lists. Raises ValueError for invalid values, TypeError for unknown names."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Options(**fields)


def events(writer: Writer) -> Iterator[Event]:
    """Events of a writer with one conversation."""
    streamer = ReplyStreamer(writer.processor, writer.replies[0], writer.config.feature_tokens)
    for _ in writer.write():
        for item in streamer.new_items():
            if isinstance(item, ReplyMedium):
                yield from writer.decode_one(item)
            else:
                yield item
