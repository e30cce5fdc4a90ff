"""Replies: text and media in any order, for a batch of conversations at once, with a key-value cache.

- where the begin token of a medium comes (chosen, or forced), its features are predicted, fed back through the very path
  that given media take (`embed_features`), the medium is closed, and the reply goes on;
- media are decoded together, one decoder batch per modality;
- a conversation's randomness comes from its own seed: its reply does not depend on the others of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from codi2_model.config import MODALITIES
from codi2_model.generation.decode_loop import Content, Medium, Writer, content_of
from codi2_model.generation.events import Event, MediumBegun, MediumDone, Options, Progress, TextDelta
from codi2_model.generation.streaming import Teller
from codi2_model.modeling import CoDi2ForConditionalGeneration
from codi2_model.processor import CoDi2Processor, Messages

__all__ = [
    "Content", "Event", "MediumBegun", "MediumDone", "Options", "Progress", "TextDelta",
    "generate", "predict_features", "stream",
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
) -> list[Content]:
    """Per conversation the parts of its reply in true order: {"type": "text", "text"} or {"type": "image" | "audio", "value"}
    (PIL picture; float32 mono samples). `seed`: one for all, or one per conversation. See `Options` for the rest.

    Raises ConversationError where a conversation is malformed or too long, ValueError for bad options.
    """
    options = Options(
        modalities=tuple(modalities),
        max_new_tokens=max_new_tokens,
        steps=steps,
        guidance=guidance,
        temperature=temperature,
        top_p=top_p,
        force=None if force is None else tuple(force),
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
    """The reply to one conversation as events, as they happen; `options` as in `Options`.

    The same parts as `generate` gives with the same seed; a medium is decoded as soon as its features are there.
    """
    yield from events(Writer(model, processor, [conversation], options_of(options), [seed]))


def options_of(given: dict[str, Any]) -> Options:
    """`Options`, whose sequences may come as lists. Raises ValueError for bad ones, TypeError for unknown ones."""
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return Options(**plain)


def events(writer: Writer) -> Iterator[Event]:
    """The reply to a writer's one conversation, as it is written."""
    teller = Teller(writer.processor, writer.replies[0], writer.config.feature_tokens)
    for _ in writer.write():
        for new in teller.news():
            if isinstance(new, Medium):
                yield from writer.decode_one(new)
            else:
                yield new


@torch.no_grad()
def predict_features(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, conversations: Sequence[Messages]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Teacher-forced predictions at the target media's slots, and the true features: what the feature losses compare.

    Two lists with one (slots of target media, D) tensor per conversation, media in their order of appearance.
    """
    was_training = model.training
    model.eval()
    batch = processor(conversations, training=True).to(model.device)
    batch.pop("labels")
    output = model(**batch)
    model.train(was_training)
    found: list[list[tuple[int, torch.Tensor, torch.Tensor]]] = [[] for _ in conversations]
    assert output.predicted is not None and output.true is not None
    for modality, predicted in output.predicted.items():
        true = output.true[modality]
        for number in torch.nonzero(batch[f"{modality}_target"]).flatten().tolist():
            place = int(batch[f"{modality}_position"][number])
            found[int(batch[f"{modality}_sample"][number])].append((place, predicted[number], true[number]))
    empty = torch.zeros(0, model.config.feature_dim, device=model.device)
    guesses, rights = [], []
    for rows in found:
        rows.sort(key=lambda row: row[0])
        guesses.append(torch.cat([guess for _, guess, _ in rows]) if rows else empty)
        rights.append(torch.cat([right for _, _, right in rows]) if rows else empty)
    return guesses, rights
