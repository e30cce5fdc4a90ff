"""Scores of one evaluation: judges for media, text scores, feature retrieval, and the baselines of each sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codi2_model.evaluation.baselines import CHANCE, COPY_INPUT, NEAREST_TRAIN, copy_input, nearest_prompts
from codi2_model.evaluation.candidates import CandidateMedium, Candidates, candidate_values
from codi2_model.evaluation.data import (
    LoadedSample,
    SampleRow,
    TrainAnswer,
    load_samples,
    pick,
    text_of,
    train_answers,
)
from codi2_model.evaluation.judges import AudioJudge, ImageJudge, Judge, VideoJudge
from codi2_model.evaluation.metric_names import RETRIEVAL_TASKS, TOP1
from codi2_model.evaluation.scoring import (
    CONCEPT,
    EDIT,
    MODEL,
    STYLE,
    MediaQuestion,
    Scores,
    score_media,
    score_texts,
)
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

RETRIEVAL_SAMPLES = 200  # per task; many, because they need no generation and make the p-value precise
QUESTIONS = {CONCEPT: "concept", STYLE: "style", EDIT: "edit"}  # names on the page
JUDGES: dict[str, Callable[[], Judge]] = {"image": ImageJudge, "audio": AudioJudge, "video": VideoJudge}


@dataclass(frozen=True)
class NearestTrain:
    """Baselines of a test sample: reply of the nearest train sample (text, first medium), text of a random train reply."""

    text: str
    medium: Any | None
    random_text: str


def nearest_train_answers(
    catalog: Catalog, store: Store, build: str, samples: Sequence[LoadedSample], seed: int
) -> dict[str, NearestTrain]:
    """sample id -> nearest train answer, for samples of tasks that have train samples."""
    chosen: dict[str, tuple[TrainAnswer, str]] = {}
    for task in sorted({sample.row.task for sample in samples}):
        train = train_answers(catalog, build, task, seed)
        if not train:
            continue
        queries = [sample for sample in samples if sample.row.task == task]
        # texts of all turns before the reply, joined in the same way as the train prompts
        prompts = [
            " ".join(part["text"] for m in s.prompt for part in m["content"] if part["type"] == "text") for s in queries
        ]
        for sample, index in zip(queries, nearest_prompts(prompts, [answer.prompt for answer in train]), strict=True):
            random_text = random.Random(f"{seed}:{sample.row.sample_id}").choice(train).reply
            chosen[sample.row.sample_id] = (train[index], random_text)
    media_rows = [
        chosen[s.row.sample_id][0].row for s in samples if s.target["type"] != "text" and s.row.sample_id in chosen
    ]
    loaded = load_samples(store, media_rows)
    nearest = {}
    for sample_id, (answer, random_text) in chosen.items():
        target = loaded[answer.row.sample_id].target if answer.row.sample_id in loaded else None
        nearest[sample_id] = NearestTrain(answer.reply, target["value"] if target else None, random_text)
    return nearest


def judge_answers(
    catalog: Catalog,
    store: Store,
    build: str,
    rows: Sequence[SampleRow],
    samples: Sequence[LoadedSample],
    outputs: dict[str, list[dict[str, Any]]],
    nearest: dict[str, NearestTrain],
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """Score all samples. Returns (rows of `metrics`, rows of `scores`, sample id -> note for the page)."""
    texts = Scores("text")
    notes: dict[str, str] = {}
    for sample in samples:
        if sample.target["type"] == "text":
            sample_id = sample.row.sample_id
            answers: dict[str | None, str] = {MODEL: text_of(outputs[sample_id])}
            if sample_id in nearest:
                answers |= {NEAREST_TRAIN: nearest[sample_id].text, CHANCE: nearest[sample_id].random_text}
            f1 = score_texts(sample.row.task, sample.target["text"], answers, texts, sample_id)
            notes[sample_id] = f"token F1 {f1:.2f}"
    metrics, own_scores = texts.rows(seed), texts.own
    candidates = Candidates(catalog, build, rows, seed)
    for modality, make_judge in JUDGES.items():
        chosen = [sample for sample in samples if sample.target["type"] == modality]
        if not chosen:
            continue
        lists = {s.row.sample_id: {CONCEPT: candidates.concept(s.row.sample_id)} for s in chosen}
        if modality == "image":
            for sample_id, listed in candidates.styles(list(lists)).items():
                lists[sample_id][STYLE] = listed
        listed_media = [m for by in lists.values() for listed in by.values() for m in listed]
        own = {sample.target["asset_id"]: sample.target["value"] for sample in chosen}
        values = candidate_values(store, listed_media, own)
        questions = [_question(s, lists[s.row.sample_id], outputs, nearest) for s in chosen]
        scores = Scores(f"judge:{modality}")
        verdicts = score_media(questions, values, make_judge(), scores)
        metrics += scores.rows(seed)
        own_scores = own_scores + scores.own
        for sample_id, verdict in verdicts.items():
            results = (f"{QUESTIONS[name]} {'right' if right else 'wrong'}" for name, right in verdict.items())
            notes[sample_id] = ", ".join(results)
    return metrics, own_scores, notes


def _question(
    sample: LoadedSample,
    lists: dict[str, list[CandidateMedium]],
    outputs: dict[str, list[dict[str, Any]]],
    nearest: dict[str, NearestTrain],
) -> MediaQuestion:
    modality, sample_id = sample.target["type"], sample.row.sample_id
    generated = [part["value"] for part in outputs[sample_id] if part["type"] == modality]
    answers: dict[str | None, Any] = {MODEL: generated[0] if generated else None}
    source = copy_input(sample.prompt, modality)
    if source is not None:
        answers[COPY_INPUT] = source
    if sample_id in nearest:
        answers[NEAREST_TRAIN] = nearest[sample_id].medium
    choices = {name: [medium.asset_id for medium in listed] for name, listed in lists.items() if len(listed) > 1}
    return MediaQuestion(sample_id, sample.row.task, sample.target["asset_id"], choices, answers, source)


def score_retrieval(
    model: Any, processor: Any, store: Store, rows: Sequence[SampleRow], seed: int
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Feature retrieval per task: rank the true features of a sample among those of other samples.

    Yields (rows of `metrics`, rows of `scores`) of each task.
    """
    from codi2_model.evaluation.retrieval import feature_retrieval

    for task in RETRIEVAL_TASKS:
        picked = pick([row for row in rows if row.task == task], RETRIEVAL_SAMPLES, seed)
        loaded = load_samples(store, picked)
        samples = [loaded[row.sample_id] for row in picked]
        chosen = [[*s.prompt, {"role": "assistant", "content": s.reply}] for s in samples]
        if len(chosen) < 2:
            continue
        result = feature_retrieval(model, processor, chosen)
        common = {"suite": "features", "task": task, "metric": TOP1}
        yield (
            [
                metric_row("features", task, TOP1, result.accuracy, n=result.n),
                metric_row("features", task, f"{TOP1}_p_value", result.p_value, n=result.n),
                metric_row("features", task, TOP1, result.chance, n=result.n, baseline=CHANCE),
            ],
            [
                {**common, "sample_id": samples[number].row.sample_id, "value": float(hit)}
                for number, hit in result.right
            ],
        )


def metric_row(suite: str, task: str, metric: str, value: float, n: int, baseline: str | None = None) -> dict[str, Any]:
    """A row of `metrics` without an interval."""
    row = {"suite": suite, "task": task, "split": "test", "metric": metric, "baseline": baseline, "n": n}
    return {**row, "value": value, "low": None, "high": None}
