"""Scores of answers against candidates and truths, the model's and the baselines' alike.

Per sample: 1.0 / 0.0 for "nearest the right candidate", a cosine for similarity. An answer that is missing counts as
wrong and as similarity 0. A tie is wrong: an answer (or a judge) that cannot tell candidates apart earns nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codi2_model.evaluation.baselines import CHANCE
from codi2_model.evaluation.judges import Embeddings, Judge
from codi2_model.evaluation.metric_names import ANSWERED, CONCEPT, EDIT, SIMILARITY, STYLE
from codi2_model.evaluation.statistics import binomial_p, bootstrap_mean
from codi2_model.evaluation.text_scores import exact_match, token_f1

MODEL = None  # the baseline column of the model's own rows

Answers = Mapping[str | None, Any]  # baseline (None = the model) -> its answer; a baseline that cannot answer is absent


@dataclass(frozen=True)
class MediaQuestion:
    """One sample to judge. `choices`: question -> asset ids, truth first; `input`: the medium an edit starts from."""

    sample_id: str
    task: str
    truth: str
    choices: Mapping[str, Sequence[str]]
    answers: Answers
    input: Any | None = None


@dataclass
class Scores:
    """(task, metric, baseline) -> one score a sample, in the order of the samples; the model's own with whose they are."""

    suite: str
    values: dict[tuple[str, str, str | None], list[float]] = field(default_factory=lambda: defaultdict(list))
    own: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the table `scores`, less the run's ids."""

    def add(self, task: str, metric: str, baseline: str | None, score: float, sample_id: str) -> None:
        self.values[(task, metric, baseline)].append(float(score))
        if baseline is MODEL:
            about = {"suite": self.suite, "task": task, "metric": metric, "sample_id": sample_id}
            self.own.append({**about, "value": float(score)})

    def rows(self, seed: int) -> list[dict[str, Any]]:
        """Metrics rows with intervals, ordered; chance has none. Questions add the exact test against chance."""
        rows = []
        ordered = sorted(self.values, key=lambda key: (key[0], key[1], key[2] is not None, key[2] or ""))
        for task, metric, baseline in ordered:
            scores = self.values[(task, metric, baseline)]
            estimate = bootstrap_mean(scores, seed)
            about = {"suite": self.suite, "task": task, "split": "test", "n": estimate.n, "baseline": baseline}
            interval = {} if baseline == CHANCE else {"low": estimate.low, "high": estimate.high}
            rows.append({**about, "metric": metric, "value": estimate.value, "low": None, "high": None, **interval})
            chance = self.values.get((task, metric, CHANCE)) if metric in (CONCEPT, STYLE, EDIT) else None
            if baseline is MODEL and chance:
                p = binomial_p(round(sum(scores)), len(scores), float(np.mean(chance)))
                rows.append({**about, "metric": f"{metric}_p_value", "value": p, "low": None, "high": None})
        return rows


def score_media(
    questions: Sequence[MediaQuestion], candidates: Mapping[str, Any], judge: Judge, scores: Scores
) -> dict[str, dict[str, bool]]:
    """Judge every answer. `candidates`: asset id -> value. Returns sample id -> {question: the model was right}."""
    ids = sorted(
        {asset for q in questions for listed in q.choices.values() for asset in listed} | {q.truth for q in questions}
    )
    known = dict(zip(ids, judge.embed([candidates[asset] for asset in ids]), strict=True))
    given = {id(answer): answer for q in questions for answer in (*q.answers.values(), q.input) if answer is not None}
    embedded = dict(zip(given, judge.embed(list(given.values())), strict=True))  # the copied input is embedded once
    found = {(q.sample_id, w): embedded[id(a)] for q in questions for w, a in q.answers.items() if a is not None}
    started = {q.sample_id: embedded[id(q.input)] for q in questions if q.input is not None}
    verdicts: dict[str, dict[str, bool]] = {}
    for question in questions:
        listed = {name: np.stack([known[asset] for asset in assets]) for name, assets in question.choices.items()}
        if question.sample_id in started:
            listed[EDIT] = np.stack([known[question.truth], started[question.sample_id]])
        for name, choices in listed.items():
            scores.add(question.task, name, CHANCE, 1 / len(choices), question.sample_id)
        for who in question.answers:
            row = found.get((question.sample_id, who))
            for name, choices in listed.items():
                right = row is not None and nearest_is_first(row, choices)
                scores.add(question.task, name, who, right, question.sample_id)
                if who is MODEL:
                    verdicts.setdefault(question.sample_id, {})[name] = right
            near = 0.0 if row is None else float(row @ known[question.truth])
            scores.add(question.task, SIMILARITY, who, near, question.sample_id)
        if MODEL in question.answers:
            answered = (question.sample_id, MODEL) in found
            scores.add(question.task, ANSWERED, MODEL, answered, question.sample_id)
    return verdicts


def nearest_is_first(answer: Embeddings, choices: Embeddings) -> bool:
    """Whether the first choice is strictly nearest by cosine; embeddings are (D,) and (K, D) of unit length."""
    similarity = choices @ answer
    return bool(len(similarity) > 1 and similarity[0] > similarity[1:].max() + 1e-6)


def score_texts(task: str, truth: str, answers: Mapping[str | None, str], scores: Scores, sample_id: str) -> float:
    """Add token F1 and exact match of every answer; returns the model's F1."""
    for who, answer in answers.items():
        scores.add(task, "token_f1", who, token_f1(answer, truth), sample_id)
        scores.add(task, "exact_match", who, exact_match(answer, truth), sample_id)
    return token_f1(answers[MODEL], truth) if MODEL in answers else 0.0


def summary(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Metrics rows as one line per (suite, task, metric), the model beside its baselines: columns and cells."""
    names = sorted({row["baseline"] for row in rows if row["baseline"]})
    lines: dict[tuple[str, str, str], dict[str | None, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        lines[(row["suite"], row["task"], row["metric"])][row["baseline"]] = row

    def cell(row: Mapping[str, Any] | None) -> str:
        if row is None:
            return ""
        value = f"{row['value']:.3g}" if row["metric"].endswith("p_value") else f"{row['value']:.3f}"
        return value if row["low"] is None else f"{value} [{row['low']:.3f}, {row['high']:.3f}]"

    columns = ["suite", "task", "metric", "n", "model", *names]
    cells = [
        [suite, task, metric, str(next(iter(by.values()))["n"]), cell(by.get(MODEL)), *(cell(by.get(n)) for n in names)]
        for (suite, task, metric), by in lines.items()
    ]
    return columns, cells
