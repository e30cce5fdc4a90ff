"""Scores of all answers to the questions of a task: the model under every condition, and the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codi2_model.evaluation.baselines import CHANCE
from codi2_model.evaluation.bench.candidate_sets import Choices
from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.exact import EXACT, unanswered
from codi2_model.evaluation.bench.measures import CHOICES, bare
from codi2_model.evaluation.bench.questions import Question, placeholder
from codi2_model.evaluation.judges import Embeddings
from codi2_model.evaluation.metrics.frechet import frechet
from codi2_model.evaluation.metrics.spectra import kl_divergence, softmax

TEMPERATURE = 0.1  # of the judge's distribution over candidates; their cosines differ by about 0.5
Condition = tuple[str | None, str]  # (baseline, None for the model; suffix of the measure's name)
MODEL: Condition = (None, "")


@dataclass
class Tally:
    """Scores. single: (measure, condition) -> question key -> score. sets: (measure, condition) -> (value, n) of whole sets."""

    single: dict[tuple[str, Condition], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    sets: dict[tuple[str, Condition], tuple[float, int]] = field(default_factory=dict)

    def add(self, measure: str, condition: Condition, question: Question, value: float) -> None:
        """Add the score of an answer to a question."""
        self.single[(measure, condition)][question.key] = float(value)


def score(
    questions: Sequence[Question],
    answers: Mapping[Condition, Mapping[str, Any]],
    choices: Choices,
    values: Mapping[str, Any],
    embedder: Embedder,
    prefix: bool = False,
) -> Tally:
    """Score all answers.

    answers: condition -> question key -> answer, or None for a missing answer; questions that a condition does not apply to
    are absent. values: candidate id -> value. prefix: prefix the names of measures with the modality.
    """
    tally = Tally()
    by_kind: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_kind[question.modality].append(question)
    for modality, group in by_kind.items():
        name = f"{modality}:" if prefix else ""
        cached = _embed_candidates(group, choices, values, embedder)
        for condition, condition_answers in answers.items():
            answered = [question for question in group if question.key in condition_answers]
            _score_condition(answered, condition_answers, condition, name, choices, values, embedder, cached, tally)
    return tally


def _embed_candidates(
    questions: Sequence[Question], choices: Choices, values: Mapping[str, Any], embedder: Embedder
) -> dict[int, str]:
    """Embed all truths and candidates of one modality. Returns id() of each -> its name in the cache."""
    modality = questions[0].modality
    listed = {i: values[i] for q in questions for ids in choices.lists[q.key].values() for i in ids}
    media = {_truth_name(q): q.truth for q in questions} | listed
    embedder.add(modality, media)
    return {id(medium): name for name, medium in media.items()} | {id(q.truth): _truth_name(q) for q in questions}


def _truth_name(question: Question) -> str:
    return question.truth if question.modality == "text" else question.truth_id


def _score_condition(
    questions: Sequence[Question],
    answers: Mapping[str, Any],
    condition: Condition,
    prefix: str,
    choices: Choices,
    values: Mapping[str, Any],
    embedder: Embedder,
    cached: Mapping[int, str],
    tally: Tally,
) -> None:
    if not questions:
        return
    modality, suffix = questions[0].modality, condition[1]

    def add(measure: str, question: Question, value: float) -> None:
        tally.add(f"{prefix}{measure}{suffix}", condition, question, value)

    present = [answers[q.key] is not None and (modality != "text" or bool(answers[q.key].strip())) for q in questions]
    media = [answers[q.key] if is_present else placeholder(q) for q, is_present in zip(questions, present, strict=True)]
    rows = embedder.embed(modality, media, cached)
    for question, answer, row, is_present in zip(questions, media, rows, present, strict=True):
        truth = embedder.rows(modality, [_truth_name(question)])[0]
        add("soft_match" if modality == "text" else "similarity", question, float(row @ truth) if is_present else 0.0)
        if condition[0] is None and modality != "text":
            add("answered", question, is_present)
        for name, ids in choices.lists[question.key].items():
            candidates = embedder.rows(modality, ids)
            if condition[0] == CHANCE:
                add(name, question, 1 / len(ids))
            else:
                add(name, question, is_present and nearest_is_first(row, candidates))
            if name == "concept@1" and modality == "audio":
                add(
                    "kl",
                    question,
                    kl_divergence(*softmax(np.stack([candidates @ truth, candidates @ row]), TEMPERATURE)),
                )
        edits = [values[i] for i in choices.lists[question.key].get("edit@1", ())]
        exact = EXACT[modality](question, answer, edits)
        if not is_present:
            exact |= {name: value for name, value in unanswered().items() if name in exact}
        if condition[0] == CHANCE and "edit@1_signal" in exact:
            exact["edit@1_signal"] = 1 / len(edits)
        for name, value in exact.items():
            add(name, question, value)
    if modality == "video":
        _score_frames(questions, media, present, embedder, add)
    if modality != "text" and condition[0] != CHANCE and not suffix and len(questions) > 1:
        truths = embedder.rows(modality, [q.truth_id for q in questions])
        distance = frechet(rows, truths)
        tally.sets[(f"{prefix}frechet", condition)] = (distance.value, len(questions))
        if condition[0] is None:
            tally.sets[(f"{prefix}frechet_shrinkage", condition)] = (float(np.mean(distance.shrinkage)), len(questions))


def _score_frames(
    questions: Sequence[Question], media: Sequence[Any], present: Sequence[bool], embedder: Any, add: Any
) -> None:
    judge = embedder.judge("video")
    generated, true = judge.embed_frames(media), judge.embed_frames([q.truth for q in questions])
    for question, value, is_present in zip(questions, (generated * true).sum(-1).mean(-1), present, strict=True):
        add("frame_similarity", question, float(value) if is_present else 0.0)


def nearest_is_first(answer: Embeddings, choices: Embeddings) -> bool:
    """Whether the first choice is strictly nearest by cosine; a tie is wrong. Embeddings (D,) and (K, D) of unit length."""
    similarity = choices @ answer
    return bool(len(similarity) > 1 and similarity[0] > similarity[1:].max() + 1e-6)


def is_choice(metric: str) -> bool:
    """Whether a measure is a choice among candidates, with an exact chance level."""
    return bare(metric) in CHOICES
