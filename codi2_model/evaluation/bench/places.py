"""Quality by position: does the third image of a long reply keep up with the first?

Replies with several media of one modality have the measures `answered[place=N]` and `similarity[place=N]` for each of them, beside
those of the same replies' first one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.questions import Question
from codi2_model.evaluation.bench.scoring import Condition, Tally
from codi2_model.evaluation.data import LoadedSample


def place_questions(sample: LoadedSample) -> list[Question]:
    """One question for each medium of the reply that is not the only one of its modality."""
    media: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for part in sample.reply:
        if part["type"] != "text":
            media[part["type"]].append(part)
    return [
        Question(sample, modality, part["value"], part["asset_id"], place=place)
        for modality, parts in media.items()
        if len(parts) > 1
        for place, part in enumerate(parts, 1)
    ]


def score_places(
    questions: Sequence[Question],
    answers: Mapping[Condition, Mapping[str, Any]],
    embedder: Embedder,
    tally: Tally,
    prefix: bool = False,
) -> None:
    """Add the measures of each place to the tally, for the model and the baselines with all demonstrations."""
    groups: dict[tuple[str, int], list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.modality, question.place or 1].append(question)
    for (modality, place), group in sorted(groups.items(), key=lambda item: item[0]):
        name = f"{modality}:" if prefix else ""
        embedder.add(modality, {question.truth_id: question.truth for question in group})
        for condition in (condition for condition in answers if not condition[1]):
            asked = [question for question in group if question.key in answers[condition]]
            present = [question for question in asked if answers[condition][question.key] is not None]
            rows = embedder.embed(modality, [answers[condition][question.key] for question in present])
            truths = [embedder.rows(modality, [question.truth_id])[0] for question in present]
            similar = {q.key: float(row @ truth) for q, row, truth in zip(present, rows, truths, strict=True)}
            for question in asked:
                tally.add(f"{name}similarity[place={place}]", condition, question, similar.get(question.key, 0.0))
                if condition[0] is None:
                    tally.add(f"{name}answered[place={place}]", condition, question, question.key in similar)
