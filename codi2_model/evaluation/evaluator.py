"""Evaluate a checkpoint on the held-out split of a build.

    test shards -> samples picked by hash -> batched generation -> judges, text scores -> catalog, page, contact sheet

The model comes from `from_pretrained` alone; baselines go through the same judge into the same table. The same
checkpoint, build and seed give the same rows, so what was evaluated before is read back from the catalog.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import checkpoint_folder, load_model, stamp
from codi2_model.evaluation.answering import Ask, GenerationSettings, answer_all, modalities_of, seed_of, settled
from codi2_model.evaluation.baselines import CHANCE, COPY_INPUT, NEAREST_TRAIN, copy_input, nearest_prompts
from codi2_model.evaluation.candidates import Candidates, Medium, candidate_values
from codi2_model.evaluation.data import (
    EvaluationError,
    Leak,
    LoadedSample,
    SampleRow,
    TrainAnswer,
    answerable,
    leaks,
    load_samples,
    pick,
    sample_rows,
    text_of,
    train_answers,
)
from codi2_model.evaluation.judges import AudioJudge, ClipJudge, ImageJudge, Judge
from codi2_model.evaluation.metric_names import RETRIEVAL_TASKS, TOP1
from codi2_model.evaluation.report.outputs import GenerationItem, put_generations, write_generations
from codi2_model.evaluation.scoring import (
    CONCEPT,
    EDIT,
    MODEL,
    STYLE,
    MediaQuestion,
    Scores,
    score_media,
    score_texts,
    summary,
)
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.coordination.leases import lease, still_ours
from codi2_storage.store import Store

VERSION = 3  # raised whenever the same checkpoint and build would get other figures
RETRIEVAL_SAMPLES = 200  # a task: nothing is generated, so many are cheap and make the p-value sharp
QUESTIONS = {CONCEPT: "concept", STYLE: "style", EDIT: "edit"}  # as the page names them
JUDGES: dict[str, Callable[[], Judge]] = {"image": ImageJudge, "audio": AudioJudge, "video": ClipJudge}


@dataclass(frozen=True)
class EvaluationResult:
    """`rows` as they stand in the metrics table; `leaks`: task -> media of test targets found in train parts."""

    run_id: str
    checkpoint_id: str
    build_id: str
    samples: int
    rows: list[dict[str, Any]]
    leaks: dict[str, int]
    page: str
    contact_sheet: str

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and cells for people: the model beside its baselines."""
        return summary(self.rows)


def evaluate(
    checkpoint: str | Path,
    root: str | Store,
    build: str | None = None,
    limit: int = 24,
    seed: int = 0,
    out: str | Path | None = None,
    checkpoint_id: str | None = None,
    settings: GenerationSettings | None = None,
    tasks: Sequence[str] | None = None,
) -> EvaluationResult:
    """Evaluate `limit` test samples of each task; commit metrics, write the page.

    `out` is a local folder; without it the page lies in the store under evaluations/. Raises EvaluationError where the
    build holds no test samples, FileNotFoundError for a checkpoint that is not there.
    """
    store = root if isinstance(root, Store) else Store(root)
    folder = checkpoint_folder(checkpoint)
    settings = settled(settings, folder)
    catalog = Catalog(store)
    build_id = catalog.named(build)
    if build_id is None:
        raise EvaluationError(f"nothing to evaluate on: no published build under {store.root}")
    wanted = [row for row in sample_rows(catalog, build_id, "test") if tasks is None or row.task in tasks]
    rows, left_out = answerable(catalog, build_id, wanted, modalities_of(folder))
    for task, reason in left_out.items():
        print(f"evaluate: {task} is left out: {reason}", file=sys.stderr)
    picked = pick(rows, limit, seed)
    if not picked:
        that = " that the model can take" if left_out else f" of {', '.join(tasks)}" if tasks else ""
        raise EvaluationError(f"build {build_id} holds no test samples{that}")
    checkpoint_id = checkpoint_id or weights_digest(folder)[:16]  # as the catalog names it
    described = [VERSION, checkpoint_id, build_id, limit, seed, sorted(tasks or ()), settings.__dict__]
    run_id = "evaluate-" + digest(described)[:16]
    leaked = leaks(catalog, build_id)
    asked = Asked(folder, catalog, build_id, rows, picked, leaked, limit, seed, settings, checkpoint_id, run_id)
    if out is not None:
        return _made(asked, out)
    with lease(store, run_id, about=f"an evaluation of {checkpoint_id}"):  # of equal ones at once, one is made
        return _found(asked) or _made(asked)


@dataclass(frozen=True)
class Asked:
    """An evaluation whose samples are picked and whose id is known."""

    folder: Path
    catalog: Catalog
    build_id: str
    rows: list[SampleRow]
    picked: list[SampleRow]
    leaked: list[Leak]
    limit: int
    seed: int
    settings: GenerationSettings
    checkpoint_id: str
    run_id: str

    @property
    def leaks(self) -> dict[str, int]:
        return {leak.task: leak.leaked for leak in self.leaked}


def _found(asked: Asked) -> EvaluationResult | None:
    """What an equal evaluation committed before, if any."""
    store, run_id = asked.catalog.store, asked.run_id
    earlier = _earlier(Catalog(store), run_id)
    if not earlier:
        return None
    page, sheet = store.uri(f"evaluations/{run_id}/index.html"), store.uri(f"evaluations/{run_id}/contact_sheet.png")
    about = run_id, asked.checkpoint_id, asked.build_id, len(asked.picked)
    return EvaluationResult(*about, earlier, asked.leaks, page, sheet)


def _made(asked: Asked, out: str | Path | None = None) -> EvaluationResult:
    """Generate, judge, write the page, commit."""
    catalog, store, build_id, rows = asked.catalog, asked.catalog.store, asked.build_id, asked.rows
    picked, seed, settings, run_id, checkpoint_id = (
        asked.picked, asked.seed, asked.settings, asked.run_id, asked.checkpoint_id
    )  # fmt: skip
    model, processor = load_model(asked.folder)
    loaded = load_samples(store, picked)
    samples = [loaded[row.sample_id] for row in picked]
    outputs = generate_answers(model, processor, samples, seed, settings)
    nearest = _nearest_train(catalog, store, build_id, samples, seed)
    metrics, scores, notes = _judge(catalog, store, build_id, rows, samples, outputs, nearest, seed)
    for found_rows, own in _retrieval(model, processor, store, rows, seed):
        metrics, scores = metrics + found_rows, scores + own
    metrics += [_row("leaks", x.task, "test_targets_in_train", float(x.leaked), n=x.targets) for x in asked.leaked]
    whose = {"run_id": run_id, "checkpoint_id": checkpoint_id}
    metrics = [{**whose, **row} for row in metrics]

    items = [
        GenerationItem(
            s.row.sample_id, s.row.task, s.prompt, outputs[s.row.sample_id], s.reply, notes.get(s.row.sample_id, "")
        )
        for s in samples
    ]
    columns, cells = summary(metrics)
    tables = [{"title": "Held-out scores (95 % intervals)", "columns": columns, "rows": cells}]
    title = f"Evaluation of {checkpoint_id} on {build_id}"
    page, sheet = _write_page(store, run_id, out, items, title, tables)
    config = {"build": build_id, "limit": asked.limit, "seed": seed, "checkpoint": checkpoint_id, **settings.__dict__}
    about = {"run_id": run_id, "kind": "evaluation", "build_id": build_id, "status": "finished", "uri": page}
    still_ours(store, run_id)
    with Writer(store, run_id, kind="run") as writer:
        writer.append("runs", [{**about, **stamp(), "config": json.dumps(config, sort_keys=True)}])
        writer.append("metrics", metrics)
        writer.append("scores", [{**whose, **row} for row in scores])
    return EvaluationResult(run_id, checkpoint_id, build_id, len(samples), metrics, asked.leaks, page, sheet)


def generate_answers(
    model: Any, processor: Any, samples: Sequence[LoadedSample], seed: int, settings: GenerationSettings
) -> dict[str, list[dict[str, Any]]]:
    """sample id -> content list, empty where the model could not take the prompt."""
    asks = [Ask(s.row.sample_id, s.prompt, (s.target["type"],), seed_of(seed, s.row.sample_id)) for s in samples]
    answers, _ = answer_all(model, processor, asks, settings)
    return {ask.key: answers.get(ask.key, []) for ask in asks}


@dataclass(frozen=True)
class NearestTrain:
    """Per test sample: the nearest train sample's reply (text and first medium), and a random train reply's text."""

    text: str
    medium: Any | None
    random_text: str


def _nearest_train(
    catalog: Catalog, store: Store, build: str, samples: Sequence[LoadedSample], seed: int
) -> dict[str, NearestTrain]:
    chosen: dict[str, tuple[TrainAnswer, str]] = {}
    for task in sorted({sample.row.task for sample in samples}):
        train = train_answers(catalog, build, task, seed)
        if not train:
            continue
        asked = [sample for sample in samples if sample.row.task == task]
        # the query is the text of every turn before the reply, joined as the train prompts are
        prompts = [
            " ".join(part["text"] for m in s.prompt for part in m["content"] if part["type"] == "text") for s in asked
        ]
        for sample, index in zip(asked, nearest_prompts(prompts, [answer.prompt for answer in train]), strict=True):
            blind = random.Random(f"{seed}:{sample.row.sample_id}").choice(train).reply
            chosen[sample.row.sample_id] = (train[index], blind)
    wanting = [
        chosen[s.row.sample_id][0].row for s in samples if s.target["type"] != "text" and s.row.sample_id in chosen
    ]
    loaded = load_samples(store, wanting)
    found = {}
    for sample_id, (answer, blind) in chosen.items():
        target = loaded[answer.row.sample_id].target if answer.row.sample_id in loaded else None
        found[sample_id] = NearestTrain(answer.reply, target["value"] if target else None, blind)
    return found


def _judge(
    catalog: Catalog,
    store: Store,
    build: str,
    rows: Sequence[SampleRow],
    samples: Sequence[LoadedSample],
    outputs: dict[str, list[dict[str, Any]]],
    nearest: dict[str, NearestTrain],
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """Metrics rows, the model's scores sample by sample, and a note per sample for the page."""
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
            told = (f"{QUESTIONS[name]} {'right' if right else 'wrong'}" for name, right in verdict.items())
            notes[sample_id] = ", ".join(told)
    return metrics, own_scores, notes


def _question(
    sample: LoadedSample,
    lists: dict[str, list[Medium]],
    outputs: dict[str, list[dict[str, Any]]],
    nearest: dict[str, NearestTrain],
) -> MediaQuestion:
    modality, sample_id = sample.target["type"], sample.row.sample_id
    made = [part["value"] for part in outputs[sample_id] if part["type"] == modality]
    answers: dict[str | None, Any] = {MODEL: made[0] if made else None}
    source = copy_input(sample.prompt, modality)
    if source is not None:
        answers[COPY_INPUT] = source
    if sample_id in nearest:
        answers[NEAREST_TRAIN] = nearest[sample_id].medium
    choices = {name: [medium.asset_id for medium in listed] for name, listed in lists.items() if len(listed) > 1}
    return MediaQuestion(sample_id, sample.row.task, sample.target["asset_id"], choices, answers, source)


def _retrieval(
    model: Any, processor: Any, store: Store, rows: Sequence[SampleRow], seed: int
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Predicted features against the true ones of the same task: does each find its own among some others?

    Of each task its metrics rows, and its scores sample by sample.
    """
    from codi2_model.training.stages.retrieval import feature_retrieval

    for task in RETRIEVAL_TASKS:
        picked = pick([row for row in rows if row.task == task], RETRIEVAL_SAMPLES, seed)
        loaded = load_samples(store, picked)
        samples = [loaded[row.sample_id] for row in picked]
        chosen = [[*s.prompt, {"role": "assistant", "content": s.reply}] for s in samples]
        if len(chosen) < 2:
            continue
        result = feature_retrieval(model, processor, chosen)
        about = {"suite": "features", "task": task, "metric": TOP1}
        yield (
            [
                _row("features", task, TOP1, result.accuracy, n=result.n),
                _row("features", task, f"{TOP1}_p_value", result.p_value, n=result.n),
                _row("features", task, TOP1, result.chance, n=result.n, baseline=CHANCE),
            ],
            [{**about, "sample_id": samples[of].row.sample_id, "value": float(hit)} for of, hit in result.right],
        )


def _row(suite: str, task: str, metric: str, value: float, n: int, baseline: str | None = None) -> dict[str, Any]:
    about = {"suite": suite, "task": task, "split": "test", "metric": metric, "baseline": baseline, "n": n}
    return {**about, "value": value, "low": None, "high": None}


def _write_page(
    store: Store, run_id: str, out: str | Path | None, items: list[GenerationItem], title: str, tables: list[dict]
) -> tuple[str, str]:
    """(page, contact sheet) as a path or URI."""
    if out is not None:
        written = write_generations(out, items, title, tables)
        return str(written.page), str(written.contact_sheet)
    name = f"evaluations/{run_id}"
    return put_generations(store, name, items, title, tables), store.uri(f"{name}/contact_sheet.png")


def _earlier(catalog: Catalog, run_id: str) -> list[dict[str, Any]]:
    """The metrics rows of this very evaluation, if it was committed and its page is still there; in the order written."""
    if committed(catalog.store, run_id, "run") is None or not catalog.store.exists(f"evaluations/{run_id}/index.html"):
        return []
    return catalog.sql("select * from metrics where run_id = ?", [run_id]).to_pylist()
