"""Batched generation of answers to many prompts, each with its own seed."""

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
    """Generation options of an evaluation: greedy text, seeded media. steps, guidance None: as in the model's config."""

    batch_size: int = 24
    max_new_tokens: int = 40
    steps: int | None = None
    guidance: float | None = None


def resolve_settings(settings: GenerationSettings | None, folder: Path) -> GenerationSettings:
    """The settings with defaults from the checkpoint's config filled in; run ids depend on them."""
    from codi2_model import CoDi2Config
    from codi2_model.generation.events import Options

    settings = settings or GenerationSettings()
    options = Options(steps=settings.steps, guidance=settings.guidance)
    steps, guidance = options.sampling(CoDi2Config.from_pretrained(folder))
    return replace(settings, steps=steps, guidance=guidance)


@dataclass(frozen=True)
class PromptRequest:
    """A prompt to answer. skeleton: types of the parts of the reply in order, for example ("text", "audio")."""

    key: str
    prompt: Sequence[Message]
    skeleton: tuple[str, ...]
    seed: int


def answer_seed(*identity: Any) -> int:
    """Seed of an answer: a hash of values that identify it."""
    return int(digest(list(identity))[:15], 16)


def answer_all(
    model: Any, processor: Any, requests: Sequence[PromptRequest], settings: GenerationSettings, label: str = "generate"
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Answer prompts in batches of equal skeletons. Returns (key -> content parts, key -> reason of a failure).

    A prompt that the model cannot process (for example because it is too long) is reported and has no answer; it does not
    affect the others.
    """
    answers: dict[str, list[dict[str, Any]]] = {}
    failures: dict[str, str] = {}
    groups: dict[tuple[str, ...], list[PromptRequest]] = defaultdict(list)
    for request in requests:
        groups[request.skeleton].append(request)
    with progress(label, len(requests), "answers") as advance:
        for skeleton in sorted(groups):
            chosen = sorted(
                groups[skeleton], key=lambda request: sum(len(message["content"]) for message in request.prompt)
            )
            for start in range(0, len(chosen), settings.batch_size):
                batch = chosen[start : start + settings.batch_size]
                _answer(model, processor, batch, settings, answers, failures)
                advance(len(batch))
    if failures:
        key = min(failures)
        print(f"{label}: {len(failures)} of {len(requests)} prompts failed; {key}: {failures[key]}", file=sys.stderr)
    return answers, failures


def _answer(
    model: Any,
    processor: Any,
    batch: Sequence[PromptRequest],
    settings: GenerationSettings,
    answers: dict[str, list[dict[str, Any]]],
    failures: dict[str, str],
) -> None:
    from codi2_model.generation.conversations import generate
    from codi2_model.processor import ConversationError

    skeleton = batch[0].skeleton
    try:
        contents = generate(
            model, processor, [[dict(message) for message in request.prompt] for request in batch], modalities=tuple(dict.fromkeys(skeleton)),
            force=skeleton if len(skeleton) > 1 else None, seed=[request.seed for request in batch],
            max_new_tokens=settings.max_new_tokens, steps=settings.steps, guidance=settings.guidance,
        )  # fmt: skip
    except ConversationError as error:
        if len(batch) == 1:
            failures[batch[0].key] = str(error)
            return
        for request in batch:
            _answer(model, processor, [request], settings, answers, failures)
        return
    answers.update(zip((request.key for request in batch), contents, strict=True))


def modalities_of(folder: Path) -> tuple[str, ...]:
    """Modalities of a checkpoint besides text, from its config."""
    from codi2_model import CoDi2Config

    return tuple(CoDi2Config.from_pretrained(folder).modalities)
