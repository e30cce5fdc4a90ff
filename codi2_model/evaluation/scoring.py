"""Scores of the answers of the model and the baselines against candidates and truths.

Per sample: 1.0 or 0.0 for "nearest to the right candidate", a cosine for similarity. A missing answer counts as wrong and as
similarity 0. A tie is wrong.
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

MODEL = None  # value of the column `baseline` in rows of the model

Answers = Mapping[str | None, Any]  # baseline (None = the model) -> answer; baselines without an answer are absent


@dataclass(frozen=True)
class MediaQuestion:
    """A sample to judge. choices: question -> asset ids of candidates, truth first. input: source medium of an edit."""

    sample_id: str
    task: str
    truth: str
    choices: Mapping[str, Sequence[str]]
    answers: Answers
    input: Any | None = None


@dataclass
class Scores:
    """Scores by (task, metric, baseline), one per sample in order."""

    suite: str
    values: dict[tuple[str, str, str | None], list[float]] = field(default_factory=lambda: defaultdict(list))
    own: list[dict[str, Any]] = field(default_factory=list)
    """The model's scores as rows of the table `scores`, without ids of the run."""

    def add(self, task: str, metric: str, baseline: str | None, score: float, sample_id: str) -> None:
        """Add the score of a sample."""
        self.values[(task, metric, baseline)].append(float(score))
        if baseline is MODEL:
            row = {"suite": self.suite, "task": task, "metric": metric, "sample_id": sample_id}
            self.own.append({**row, "value": float(score)})

    def rows(self, seed: int) -> list[dict[str, Any]]:
        """Ordered rows of `metrics` with intervals (except for chance), and p-values of questions against chance."""
        rows = []
        ordered = sorted(self.values, key=lambda key: (key[0], key[1], key[2] is not None, key[2] or ""))
        for task, metric, baseline in ordered:
            scores = self.values[(task, metric, baseline)]
            estimate = bootstrap_mean(scores, seed)
            common = {"suite": self.suite, "task": task, "split": "test", "n": estimate.n, "baseline": baseline}
            interval = {} if baseline == CHANCE else {"low": estimate.low, "high": estimate.high}
            rows.append({**common, "metric": metric, "value": estimate.value, "low": None, "high": None, **interval})
            chance = self.values.get((task, metric, CHANCE)) if metric in (CONCEPT, STYLE, EDIT) else None
            if baseline is MODEL and chance:
                p = binomial_p(round(sum(scores)), len(scores), float(np.mean(chance)))
                rows.append({**common, "metric": f"{metric}_p_value", "value": p, "low": None, "high": None})
        return rows


def score_media(
    questions: Sequence[MediaQuestion], candidates: Mapping[str, Any], judge: Judge, scores: Scores
) -> dict[str, dict[str, bool]]:
    """Judge all answers. candidates: asset id -> value. Returns sample id -> {question: whether the model was right}."""
    ids = sorted(
        {asset for q in questions for listed in q.choices.values() for asset in listed} | {q.truth for q in questions}
    )
    by_asset = dict(zip(ids, judge.embed([candidates[asset] for asset in ids]), strict=True))
    media = {id(answer): answer for q in questions for answer in (*q.answers.values(), q.input) if answer is not None}
    embedded = dict(zip(media, judge.embed(list(media.values())), strict=True))  # equal objects are embedded once
    answer_rows = {
        (q.sample_id, baseline): embedded[id(answer)]
        for q in questions
        for baseline, answer in q.answers.items()
        if answer is not None
    }
    input_rows = {q.sample_id: embedded[id(q.input)] for q in questions if q.input is not None}
    verdicts: dict[str, dict[str, bool]] = {}
    for question in questions:
        listed = {name: np.stack([by_asset[asset] for asset in assets]) for name, assets in question.choices.items()}
        if question.sample_id in input_rows:
            listed[EDIT] = np.stack([by_asset[question.truth], input_rows[question.sample_id]])
        for name, choices in listed.items():
            scores.add(question.task, name, CHANCE, 1 / len(choices), question.sample_id)
        for baseline in question.answers:
            row = answer_rows.get((question.sample_id, baseline))
            for name, choices in listed.items():
                right = row is not None and nearest_is_first(row, choices)
                scores.add(question.task, name, baseline, right, question.sample_id)
                if baseline is MODEL:
                    verdicts.setdefault(question.sample_id, {})[name] = right
            similarity = 0.0 if row is None else float(row @ by_asset[question.truth])
            scores.add(question.task, SIMILARITY, baseline, similarity, question.sample_id)
        if MODEL in question.answers:
            answered = (question.sample_id, MODEL) in answer_rows
            scores.add(question.task, ANSWERED, MODEL, answered, question.sample_id)
    return verdicts


def nearest_is_first(answer: Embeddings, choices: Embeddings) -> bool:
    """Whether the first choice is strictly nearest by cosine. Embeddings (D,) and (K, D) have unit length."""
    similarity = choices @ answer
    return bool(len(similarity) > 1 and similarity[0] > similarity[1:].max() + 1e-6)


def score_texts(task: str, truth: str, answers: Mapping[str | None, str], scores: Scores, sample_id: str) -> float:
    """Add token F1 and exact match of every answer. Returns the model's F1."""
    for baseline, answer in answers.items():
        scores.add(task, "token_f1", baseline, token_f1(answer, truth), sample_id)
        scores.add(task, "exact_match", baseline, exact_match(answer, truth), sample_id)
    return token_f1(answers[MODEL], truth) if MODEL in answers else 0.0


def summary(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of a table with a line per (suite, task, metric), the model next to its baselines."""
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
