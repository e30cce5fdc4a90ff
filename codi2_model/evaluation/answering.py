"""A checkpoint loaded, and its answers to many prompts: in batches, each with a seed of its own."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_datasets.runtime.progress import progress

Message = Mapping[str, Any]


@dataclass(frozen=True)
class GenerationSettings:
    """How answers are made. Greedy text; the same seed gives the same media. None: as the model's config says."""

    batch_size: int = 24
    max_new_tokens: int = 40
    steps: int | None = None
    guidance: float | None = None


def settled(settings: GenerationSettings | None, folder: Path) -> GenerationSettings:
    """The settings with the numbers of the checkpoint's config where none are given: a run is known by them."""
    from codi2_model import CoDi2Config
    from codi2_model.generation.events import Options

    found = settings or GenerationSettings()
    asked = Options(steps=found.steps, guidance=found.guidance)
    steps, guidance = asked.sampling(CoDi2Config.from_pretrained(folder))
    return replace(found, steps=steps, guidance=guidance)


@dataclass(frozen=True)
class Ask:
    """One prompt. `skeleton`: the kinds of parts its reply has, in order: ("text",), ("image",), ("text", "audio")."""

    key: str
    prompt: Sequence[Message]
    skeleton: tuple[str, ...]
    seed: int


def seed_of(*identity: Any) -> int:
    """The seed of one answer, from what identifies it."""
    return int(digest(list(identity))[:15], 16)


def answer_all(
    model: Any, processor: Any, asks: Sequence[Ask], settings: GenerationSettings, label: str = "generate"
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """(key -> content list, key -> why there is none). Prompts whose replies have one skeleton go in batches together.

    A prompt that the model cannot take (too long, say) spoils no other: it is reported, and its answer is missing.
    """
    answers: dict[str, list[dict[str, Any]]] = {}
    failures: dict[str, str] = {}
    groups: dict[tuple[str, ...], list[Ask]] = defaultdict(list)
    for ask in asks:
        groups[ask.skeleton].append(ask)
    with progress(label, len(asks), "answers") as advance:
        for skeleton in sorted(groups):
            chosen = sorted(groups[skeleton], key=lambda ask: sum(len(message["content"]) for message in ask.prompt))
            for start in range(0, len(chosen), settings.batch_size):
                batch = chosen[start : start + settings.batch_size]
                _answer(model, processor, batch, settings, answers, failures)
                advance(len(batch))
    if failures:
        key = min(failures)
        print(f"{label}: {len(failures)} prompts could not be answered, {key}: {failures[key]}", file=sys.stderr)
    return answers, failures


def _answer(
    model: Any,
    processor: Any,
    batch: Sequence[Ask],
    settings: GenerationSettings,
    answers: dict[str, list[dict[str, Any]]],
    failures: dict[str, str],
) -> None:
    from codi2_model.generation.conversations import generate
    from codi2_model.processor import ConversationError

    skeleton = batch[0].skeleton
    try:
        contents = generate(
            model, processor, [[dict(message) for message in ask.prompt] for ask in batch], modalities=tuple(dict.fromkeys(skeleton)),
            force=skeleton if len(skeleton) > 1 else None, seed=[ask.seed for ask in batch],
            max_new_tokens=settings.max_new_tokens, steps=settings.steps, guidance=settings.guidance,
        )  # fmt: skip
    except ConversationError as error:
        if len(batch) == 1:
            failures[batch[0].key] = str(error)
            return
        for ask in batch:
            _answer(model, processor, [ask], settings, answers, failures)
        return
    answers.update(zip((ask.key for ask in batch), contents, strict=True))


def modalities_of(folder: Path) -> tuple[str, ...]:
    """What a checkpoint hears, sees and makes besides text, without loading its weights."""
    from codi2_model import CoDi2Config

    return tuple(CoDi2Config.from_pretrained(folder).modalities)
