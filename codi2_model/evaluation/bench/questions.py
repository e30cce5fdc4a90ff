"""Questions of the benchmark: one per sample and modality of its reply, with the exact truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_model.evaluation.baselines import copy_input
from codi2_model.evaluation.data import LoadedSample, text_of

TEXT_TASKS = ("text_to_media",)  # tasks whose replies are judged by text in addition to media
EDIT_TASKS = ("image_editing", "audio_editing", "exemplar_learning", "multi_turn", "reasoning", "composition")
RECALL = "recall "  # start of the relation of such samples
Content = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """A target to judge. source, source_id: source medium of an edit. place: of a medium among several of its modality in a
    reply; None: the first one, which stands for the reply.
    """

    sample: LoadedSample
    modality: str
    truth: Any
    truth_id: str
    source: Any | None = None
    source_id: str = ""
    place: int | None = None

    @property
    def key(self) -> str:
        """Identifier of the question: sample id, modality, and its place if it has one."""
        return f"{self.sample.row.sample_id}:{self.modality}" + (f":{self.place}" if self.place else "")

    @property
    def is_recall(self) -> bool:
        """Whether an earlier medium of the conversation is to be brought back."""
        return str(self.meta.get("relation")).startswith(RECALL)

    @property
    def meta(self) -> dict[str, Any]:
        """Attributes of the target."""
        return self.sample.row.meta


def questions_of(sample: LoadedSample) -> list[Question]:
    """One question per modality in the reply, about its first medium; and one about the text in TEXT_TASKS."""
    questions = []
    for modality in dict.fromkeys(part["type"] for part in sample.reply if part["type"] != "text"):
        part = next(part for part in sample.reply if part["type"] == modality)
        source = None
        relation = sample.row.meta.get("relation")
        if sample.row.task in EDIT_TASKS and relation and not relation.startswith(RECALL):
            source = last_medium(sample.prompt, modality)
        fields = {"source": source["value"], "source_id": source["asset_id"]} if source else {}
        questions.append(Question(sample, modality, part["value"], part["asset_id"], **fields))
    if not questions or sample.row.task in TEXT_TASKS:
        questions.append(Question(sample, "text", text_of(sample.reply), ""))
    return questions


def skeleton_of(sample: LoadedSample) -> tuple[str, ...]:
    """Types of the parts to generate: only media if the text around them is not judged."""
    kinds = [part["type"] for part in sample.reply]
    if sample.row.task not in TEXT_TASKS and any(kind != "text" for kind in kinds):
        return tuple(kind for kind in kinds if kind != "text")
    return tuple(kind for n, kind in enumerate(kinds) if n == 0 or kind != "text" or kinds[n - 1] != "text")


def answer_in(content: Content | None, modality: str, place: int = 1) -> Any | None:
    """The first medium of a modality in a reply, or that of another place, or all its text; None if there is none."""
    if content is None:
        return None
    if modality == "text":
        return text_of(dict(part) for part in content)
    media = [part["value"] for part in content if part["type"] == modality]
    return media[place - 1] if len(media) >= place else None


def copied(question: Question) -> Any | None:
    """Answer of the baseline copy_input: the prompt's last medium of the modality, or the text of the query."""
    if question.modality != "text":
        return copy_input(question.sample.prompt, question.modality)
    parts = [part for message in question.sample.prompt for part in message["content"]]
    return next((p["text"] for p in reversed(parts) if p["type"] == "text" and p.get("icl_role") == "query"), None)


def last_medium(prompt: Sequence[Mapping[str, Any]], modality: str) -> Mapping[str, Any] | None:
    """The last part of a modality in a prompt, or None."""
    parts = [part for message in prompt for part in message["content"] if part["type"] == modality]
    return parts[-1] if parts else None


def placeholder(question: Question) -> Any:
    """Substitute for a missing answer: a white image or video, silence, an empty text."""
    if question.modality == "image":
        return Image.new("RGB", question.truth.size, "white")
    if question.modality == "video":
        return np.full_like(question.truth, 255)
    return np.zeros(SAMPLE_RATE, np.float32) if question.modality == "audio" else ""
