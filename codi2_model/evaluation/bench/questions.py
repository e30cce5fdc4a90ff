"""What is judged: for each sample and each kind of medium in its reply one question, with the exact truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_model.evaluation.baselines import copy_input
from codi2_model.evaluation.data import LoadedSample, text_of

WORDS_COUNT = ("text_to_media",)  # tasks whose replies are judged by their words beside their media
EDIT_TASKS = ("image_editing", "audio_editing", "exemplar_learning", "multi_turn", "reasoning", "composition")
Content = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """One target. `source`: the medium (with its asset id) that an edit starts from, where the task is an edit."""

    sample: LoadedSample
    modality: str
    truth: Any
    truth_id: str
    source: Any | None = None
    source_id: str = ""

    @property
    def key(self) -> str:
        return f"{self.sample.row.sample_id}:{self.modality}"

    @property
    def meta(self) -> dict[str, Any]:
        return self.sample.row.meta


def questions_of(sample: LoadedSample) -> list[Question]:
    """One per kind of medium in the reply, for its first; and one for the words where they count."""
    found = []
    for modality in dict.fromkeys(part["type"] for part in sample.reply if part["type"] != "text"):
        part = next(part for part in sample.reply if part["type"] == modality)
        source = None
        if sample.row.task in EDIT_TASKS and sample.row.meta.get("relation"):
            source = last_medium(sample.prompt, modality)
        about = {"source": source["value"], "source_id": source["asset_id"]} if source else {}
        found.append(Question(sample, modality, part["value"], part["asset_id"], **about))
    if not found or sample.row.task in WORDS_COUNT:
        found.append(Question(sample, "text", text_of(sample.reply), ""))
    return found


def skeleton_of(sample: LoadedSample) -> tuple[str, ...]:
    """The kinds of parts an answer is made of: media alone where the words around them are not judged."""
    kinds = [part["type"] for part in sample.reply]
    if sample.row.task not in WORDS_COUNT and any(kind != "text" for kind in kinds):
        return tuple(kind for kind in kinds if kind != "text")
    return tuple(kind for n, kind in enumerate(kinds) if n == 0 or kind != "text" or kinds[n - 1] != "text")


def answer_in(content: Content | None, modality: str) -> Any | None:
    """What a reply holds of one kind: its first medium, or all of its words; None where there is none."""
    if content is None:
        return None
    if modality == "text":
        return text_of(dict(part) for part in content)
    return next((part["value"] for part in content if part["type"] == modality), None)


def copied(question: Question) -> Any | None:
    """What copying the input answers: the prompt's last medium of that kind, or the words it asks about."""
    if question.modality != "text":
        return copy_input(question.sample.prompt, question.modality)
    parts = [part for message in question.sample.prompt for part in message["content"]]
    return next((p["text"] for p in reversed(parts) if p["type"] == "text" and p.get("icl_role") == "query"), None)


def last_medium(prompt: Sequence[Mapping[str, Any]], modality: str) -> Mapping[str, Any] | None:
    parts = [part for message in prompt for part in message["content"] if part["type"] == modality]
    return parts[-1] if parts else None


def nothing(question: Question) -> Any:
    """What a missing answer is measured as: white paper, a still white clip, silence, no words."""
    if question.modality == "image":
        return Image.new("RGB", question.truth.size, "white")
    if question.modality == "video":
        return np.full_like(question.truth, 255)
    return np.zeros(SAMPLE_RATE, np.float32) if question.modality == "audio" else ""
