"""Conditions of the benchmark: the model with all, fewer, no or foreign demonstrations, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codi2_model.evaluation.answering import GenerationSettings, PromptRequest, answer_all, answer_seed
from codi2_model.evaluation.baselines import CHANCE, COPY_INPUT, NEAREST_TRAIN
from codi2_model.evaluation.bench.demonstrations import count, cut, exchange
from codi2_model.evaluation.bench.questions import Question, answer_in, copied, skeleton_of
from codi2_model.evaluation.bench.scoring import MODEL, Condition
from codi2_model.evaluation.data import LoadedSample, SampleRow, by_hash

REMOVED, SHUFFLED = "demos_removed", "demos_shuffled"
LEVELS = (0, 1, 2, 4)
Answers = dict[Condition, dict[str, Any]]


def ladder_rows(
    rows: Sequence[SampleRow], demos: Mapping[str, int], limit: int, seed: int
) -> tuple[list[SampleRow], int]:
    """(rows with at least as many demonstrations as the highest level of the task, picked by hash; that level, 0: none)."""
    top = max((level for level in LEVELS if level <= max((demos[r.sample_id] for r in rows), default=0)), default=0)
    chosen = {row.sample_id: row for row in rows if top and demos[row.sample_id] >= top}
    return [chosen[i] for i in by_hash(chosen, seed)[:limit]], top


def prompt_requests(
    samples: Sequence[LoadedSample], ladder: Sequence[LoadedSample], top: int, seed: int, demonstrations: bool = True
) -> dict[str, tuple[PromptRequest, list[tuple[str, Condition]]]]:
    """prompt key -> (prompt, its (sample id, condition) pairs). Each prompt is answered once.

    demonstrations: also without and with foreign demonstrations.
    """
    requests: dict[str, tuple[PromptRequest, list[tuple[str, Condition]]]] = {}

    def add(sample: LoadedSample, kind: str, prompt: Sequence[Mapping[str, Any]], condition: Condition) -> None:
        sample_id = sample.row.sample_id
        key = f"{sample_id}/{kind}"
        if key not in requests:
            requests[key] = PromptRequest(key, prompt, skeleton_of(sample), answer_seed(seed, sample_id)), []
        requests[key][1].append((sample_id, condition))

    for sample in samples:
        number = count(sample.prompt)
        add(sample, str(number), sample.prompt, MODEL)
        if number and demonstrations:
            add(sample, "0", cut(sample.prompt, 0), (REMOVED, ""))
            other = partner(sample, samples, seed)
            if other is not None:
                add(sample, "shuffled", exchange(sample.prompt, other.prompt), (SHUFFLED, ""))
    for sample in ladder:
        for level in (level for level in LEVELS if level <= top):
            add(sample, str(level), cut(sample.prompt, level), (None, f"[demos={level}]"))
    return requests


def partner(sample: LoadedSample, others: Sequence[LoadedSample], seed: int) -> LoadedSample | None:
    """Another sample with demonstrations of the same types and number, and of another relation if the sample has one."""
    shape = _shape(sample)
    fitting = {
        other.row.sample_id: other
        for other in others
        if other.row.sample_id != sample.row.sample_id
        and _shape(other) == shape
        and (not sample.row.meta.get("relation") or other.row.meta.get("relation") != sample.row.meta["relation"])
    }
    chosen = by_hash(fitting, answer_seed(seed, sample.row.sample_id))
    return fitting[chosen[0]] if chosen else None


def _shape(sample: LoadedSample) -> tuple[tuple[str, str], ...]:
    parts = [part for message in sample.prompt for part in message["content"]]
    return tuple((p["icl_role"], p["type"]) for p in parts if str(p.get("icl_role")).startswith("demo"))


def model_answers(
    model: Any,
    processor: Any,
    requests: Mapping[str, tuple[PromptRequest, list[tuple[str, Condition]]]],
    questions: Sequence[Question],
    settings: GenerationSettings,
    label: str,
) -> tuple[Answers, dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Answer prompts. Returns (answers by condition and question, sample id -> whole reply, sample id -> failure)."""
    contents, failures = answer_all(model, processor, [request for request, _ in requests.values()], settings, label)
    by_sample: dict[str, list[Question]] = {}
    for question in questions:
        by_sample.setdefault(question.sample.row.sample_id, []).append(question)
    answers: Answers = {}
    replies, reasons = {}, {}
    for key, (_, targets) in requests.items():
        for sample_id, condition in targets:
            for question in by_sample[sample_id]:
                answer = answer_in(contents.get(key), question.modality, question.place or 1)
                answers.setdefault(condition, {})[question.key] = answer
            if condition == MODEL:
                replies[sample_id] = contents.get(key, [])
                if key in failures:
                    reasons[sample_id] = failures[key]
    return answers, replies, reasons


def baseline_answers(questions: Sequence[Question], nearest: Mapping[str, LoadedSample], seed: int) -> Answers:
    """Answers of the baselines. Chance answers with the truth of another sample of the same modality, picked by hash."""
    answers: Answers = {(CHANCE, ""): {}, (COPY_INPUT, ""): {}, (NEAREST_TRAIN, ""): {}}
    for question in questions:
        sample_id = question.sample.row.sample_id
        if (source := copied(question)) is not None:
            answers[(COPY_INPUT, "")][question.key] = source
        if sample_id in nearest:
            reply = nearest[sample_id].reply
            answers[(NEAREST_TRAIN, "")][question.key] = answer_in(reply, question.modality, question.place or 1)
        alike = (question.modality, question.place)
        others = {q.key: q for q in questions if (q.modality, q.place) == alike and q.key != question.key}
        shuffled = by_hash(others, answer_seed(seed, question.key))
        if shuffled:
            answers[(CHANCE, "")][question.key] = others[shuffled[0]].truth
    return answers
