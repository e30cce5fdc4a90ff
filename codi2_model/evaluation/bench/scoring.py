"""Scores of all answers to the questions of a task: the model's, under every condition, and the baselines'."""

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
from codi2_model.evaluation.bench.measures import CHOICES
from codi2_model.evaluation.bench.questions import Question, nothing
from codi2_model.evaluation.metrics.frechet import frechet
from codi2_model.evaluation.metrics.spectra import kl_divergence, softmax
from codi2_model.evaluation.scoring import nearest_is_first

TEMPERATURE = 0.1  # of the judge's distribution over candidates, whose cosines lie within about 0.5
Condition = tuple[str | None, str]  # (baseline or None for the model, what is appended to the measure's name)
MODEL: Condition = (None, "")


@dataclass
class Tally:
    """(measure, condition) -> question key -> score. `sets`: (measure, condition) -> (value, n) of whole sets."""

    single: dict[tuple[str, Condition], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    sets: dict[tuple[str, Condition], tuple[float, int]] = field(default_factory=dict)


def score(
    questions: Sequence[Question],
    answers: Mapping[Condition, Mapping[str, Any]],
    choices: Choices,
    values: Mapping[str, Any],
    embedder: Embedder,
    prefix: bool = False,
) -> Tally:
    """`answers`: condition -> question key -> answer, None where one was due and is missing; a question that a condition
    does not answer is left out of it. `values`: candidate id -> value. `prefix`: name measures by kind of medium."""
    tally = Tally()
    by_kind: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_kind[question.modality].append(question)
    for modality, asked in by_kind.items():
        name = f"{modality}:" if prefix else ""
        _learn(asked, choices, values, embedder)
        for condition, given in answers.items():
            due = [question for question in asked if question.key in given]
            _score_condition(due, given, condition, name, choices, values, embedder, tally)
    return tally


def _learn(questions: Sequence[Question], choices: Choices, values: Mapping[str, Any], embedder: Embedder) -> None:
    """Embed all truths and candidates of one kind."""
    modality = questions[0].modality
    listed = {i: values[i] for q in questions for ids in choices.lists[q.key].values() for i in ids}
    embedder.learn(modality, {_truth_name(q): q.truth for q in questions} | listed)


def _truth_name(question: Question) -> str:
    return question.truth if question.modality == "text" else question.truth_id


def _score_condition(
    questions: Sequence[Question],
    given: Mapping[str, Any],
    condition: Condition,
    prefix: str,
    choices: Choices,
    values: Mapping[str, Any],
    embedder: Embedder,
    tally: Tally,
) -> None:
    if not questions:
        return
    modality, suffix = questions[0].modality, condition[1]

    def add(measure: str, question: Question, value: float) -> None:
        tally.single[(f"{prefix}{measure}{suffix}", condition)][question.key] = float(value)

    there = [given[q.key] is not None and (modality != "text" or bool(given[q.key].strip())) for q in questions]
    shown = [given[q.key] if is_there else nothing(q) for q, is_there in zip(questions, there, strict=True)]
    rows = embedder.embed(modality, shown)
    for question, answer, row, is_there in zip(questions, shown, rows, there, strict=True):
        truth = embedder.rows(modality, [_truth_name(question)])[0]
        add("soft_match" if modality == "text" else "similarity", question, float(row @ truth) if is_there else 0.0)
        if condition[0] is None and modality != "text":
            add("answered", question, is_there)
        for name, ids in choices.lists[question.key].items():
            known = embedder.rows(modality, ids)
            if condition[0] == CHANCE:
                add(name, question, 1 / len(ids))
            else:
                add(name, question, is_there and nearest_is_first(row, known))
            if name == "concept@1" and modality == "audio":
                add("kl", question, kl_divergence(*softmax(np.stack([known @ truth, known @ row]), TEMPERATURE)))
        rivals = [values[i] for i in choices.lists[question.key].get("edit@1", ())]
        exact = EXACT[modality](question, answer, rivals)
        if not is_there:
            exact |= {name: value for name, value in unanswered().items() if name in exact}
        if condition[0] == CHANCE and "edit@1_signal" in exact:
            exact["edit@1_signal"] = 1 / len(rivals)
        for name, value in exact.items():
            add(name, question, value)
    if modality == "video":
        _frames(questions, shown, there, embedder, add)
    if modality != "text" and condition[0] != CHANCE and not suffix and len(questions) > 1:
        truths = embedder.rows(modality, [q.truth_id for q in questions])
        found = frechet(rows, truths)
        tally.sets[(f"{prefix}frechet", condition)] = (found.value, len(questions))
        if condition[0] is None:
            tally.sets[(f"{prefix}frechet_shrinkage", condition)] = (float(np.mean(found.shrinkage)), len(questions))


def _frames(
    questions: Sequence[Question], shown: Sequence[Any], there: Sequence[bool], embedder: Any, add: Any
) -> None:
    judge = embedder.judge("video")
    made, true = judge.embed_frames(shown), judge.embed_frames([q.truth for q in questions])
    for question, value, is_there in zip(questions, (made * true).sum(-1).mean(-1), there, strict=True):
        add("frame_similarity", question, float(value) if is_there else 0.0)


def is_choice(metric: str) -> bool:
    """Whether a measure is a question with candidates, whose chance is known exactly."""
    from codi2_model.evaluation.bench.measures import bare

    return bare(metric) in CHOICES
