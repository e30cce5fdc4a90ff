"""Evaluate a checkpoint on the held-out split of a build: one recorded run per task, so an interruption loses at most one.

    samples picked by hash -> answers of the model and of baselines -> scores -> rows of `metrics` and `scores`, pages, sheets

Equal checkpoint, build, profile, seed and number of samples give equal rows; recorded tasks are read from the catalog.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import checkpoint_folder, load_model, stamp
from codi2_model.evaluation.answering import GenerationSettings, modalities_of, resolve_settings
from codi2_model.evaluation.bench import leakage
from codi2_model.evaluation.bench.candidate_media import candidate_values
from codi2_model.evaluation.bench.candidate_sets import CandidateSets, Choices
from codi2_model.evaluation.bench.conditions import baseline_answers, ladder_rows, model_answers, prompt_requests
from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.nearest import nearest_train
from codi2_model.evaluation.bench.places import place_questions, score_places
from codi2_model.evaluation.bench.profiles import PROFILES, QUICK
from codi2_model.evaluation.bench.questions import questions_of
from codi2_model.evaluation.bench.recorded import VERSION, metrics_of, recorded_runs
from codi2_model.evaluation.bench.rows import rows_of, scores_of
from codi2_model.evaluation.bench.scoring import score
from codi2_model.evaluation.data import (
    EvaluationError,
    LoadedSample,
    SampleRow,
    answerable,
    load_samples,
    pick,
    sample_rows,
)
from codi2_model.evaluation.report.pages import put_overview, write_task
from codi2_model.evaluation.report.tracking import track_evaluation
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.coordination.leases import lease, still_ours
from codi2_storage.store import Store


@dataclass(frozen=True)
class EvaluationResult:
    """Result. rows: rows of `metrics`. runs: task -> run id. left_out: task -> reason why it has no rows. page: its URI."""

    checkpoint_id: str
    build_id: str
    rows: list[dict[str, Any]]
    runs: dict[str, str]
    left_out: dict[str, str]
    page: str


@dataclass(frozen=True)
class BenchSettings:
    """All settings on which the results of a task depend. suite: the profile."""

    suite: str
    checkpoint: str
    build: str
    limit: int
    seed: int
    generation: GenerationSettings

    def config(self, task: str) -> dict[str, Any]:
        """The settings as recorded in `runs.config`."""
        settings = asdict(self)
        return {"version": VERSION, "task": task, **settings.pop("generation"), **settings}

    def run_id(self, task: str) -> str:
        """Id of the run of a task."""
        return f"evaluate-{self.suite}-{digest(self.config(task))[:16]}"


def evaluate(
    checkpoint: str | Path,
    root: str | Store,
    build: str | None = None,
    suite: str = QUICK,
    limit: int | None = None,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    settings: GenerationSettings | None = None,
    allow_leaks: bool = False,
) -> EvaluationResult:
    """Evaluate a checkpoint on `limit` held-out samples of every task of a build (None: the latest).

    suite: name of the profile; limit None: its default. Raises EvaluationError for a build with leaks or without test samples
    that the model supports, FileNotFoundError for a missing checkpoint.
    """
    store = root if isinstance(root, Store) else Store(root)
    folder = checkpoint_folder(checkpoint)
    catalog = Catalog(store)
    build_id = catalog.named(build)
    if build_id is None:
        raise EvaluationError(f"no published build under {store.root} to evaluate on; run `codi2 build` first")
    rows = sample_rows(catalog, build_id, "test")
    available = sorted({row.task for row in rows})
    unknown = sorted(set(tasks or ()) - set(available))
    if unknown or not available:
        raise EvaluationError(
            f"build {build_id} has no test samples" + (f" of {', '.join(unknown)}" if unknown else "")
        )
    chosen = [task for task in available if tasks is None or task in tasks]
    leak_rows = leakage.check(catalog, build_id, chosen, allow_leaks)
    supported, unsupported = answerable(catalog, build_id, rows, modalities_of(folder))
    left_out = {task: reason for task, reason in unsupported.items() if task in chosen}
    for task, reason in left_out.items():
        print(f"skipped task {task}: {reason}", file=sys.stderr)
    todo = [task for task in chosen if task not in left_out]
    if not todo:
        raise EvaluationError(f"build {build_id} has no test samples that the model supports")
    limit = PROFILES[suite].limit if limit is None else limit
    bench_settings = BenchSettings(
        suite, weights_digest(folder)[:16], build_id, limit, seed, resolve_settings(settings, folder)
    )
    bench = Bench(catalog, folder, bench_settings, rows, supported)
    runs = {task: bench_settings.run_id(task) for task in todo}
    for number, (task, run_id) in enumerate(runs.items(), 1):
        if committed(store, run_id, "run"):
            continue
        with lease(store, run_id, about=f"an evaluation of {bench_settings.checkpoint}"):
            if committed(store, run_id, "run") is None:  # an equal evaluation may have ended while this one waited
                print(f"task {number} of {len(todo)}: {task}", file=sys.stderr, flush=True)
                bench.run(task, [row for row in leak_rows if row["task"] == task])
    catalog = Catalog(store)
    by_run = metrics_of(catalog, list(runs.values()))
    metrics = [row for run_id in runs.values() for row in by_run[run_id]]
    track_evaluation(suite, bench_settings.checkpoint, metrics, runs, build_id)
    page = put_overview(store, bench_settings.checkpoint, recorded_runs(catalog, bench_settings.checkpoint, build_id))
    return EvaluationResult(bench_settings.checkpoint, build_id, metrics, runs, left_out, page)


class Bench:
    """State shared by the tasks: candidate sets, embeddings, and the model, which is loaded on first use."""

    def __init__(
        self,
        catalog: Catalog,
        folder: Path,
        settings: BenchSettings,
        rows: Sequence[SampleRow],
        supported: Sequence[SampleRow],
    ) -> None:
        """rows: all test samples, for candidates. supported: test samples that the model supports."""
        self.catalog, self.settings, self.supported = catalog, settings, supported
        self._folder = folder
        self._loaded: tuple[Any, Any] | None = None
        self._profile = PROFILES[settings.suite]
        self._candidates = CandidateSets(catalog, settings.build, rows, settings.seed, self._profile.styles)
        self._embedder = Embedder()
        self._demos = _demo_counts(catalog, settings.build)

    def run(self, task: str, leak_rows: list[dict[str, Any]]) -> None:
        """Evaluate a task and record its rows, page and sheets."""
        settings, catalog = self.settings, self.catalog
        task_rows = [row for row in self.supported if row.task == task]
        picked = pick(task_rows, settings.limit, settings.seed)
        with_demos = task_rows if self._profile.demonstrations else []
        ladder, top = ladder_rows(with_demos, self._demos, max(1, settings.limit // 2), settings.seed)
        loaded = load_samples(catalog.store, {r.sample_id: r for r in [*picked, *ladder]}.values())
        samples, steps = [loaded[r.sample_id] for r in picked], [loaded[r.sample_id] for r in ladder]
        questions = [question for sample in loaded.values() for question in questions_of(sample)]
        picked_ids = {row.sample_id for row in picked}
        main = [question for question in questions if question.sample.row.sample_id in picked_ids]
        places = [question for sample in samples for question in place_questions(sample)]
        requests = prompt_requests(samples, steps, top, settings.seed, self._profile.demonstrations)
        model, processor = self._model()
        every = [*questions, *places]
        answers, replies, reasons = model_answers(model, processor, requests, every, settings.generation, task)
        nearest = nearest_train(catalog, settings.build, task, samples, settings.seed)
        answers |= baseline_answers([*main, *places], nearest, settings.seed)
        choices = self._candidates.choices(questions)
        values = self._values(choices, list(loaded.values()))
        prefix = len(self._candidates.kinds(task)) > 1
        tally = score(questions, answers, choices, values, self._embedder, prefix)
        score_places(places, answers, self._embedder, tally, prefix)
        holdouts = {question.key: question.sample.row.holdout for question in every}
        run_id = settings.run_id(task)
        ids = {"run_id": run_id, "checkpoint_id": settings.checkpoint, "suite": settings.suite, "task": task}
        rows = [{**ids, **row} for row in (*rows_of(tally, holdouts, settings.seed), *leak_rows)]
        with tempfile.TemporaryDirectory(prefix="codi2-bench-") as folder:
            write_task(Path(folder), task, settings.checkpoint, samples, replies, reasons, tally, rows, settings.seed)
            catalog.store.put_folder(folder, f"evaluations/{run_id}")
        run = {"run_id": run_id, "kind": "evaluation", "build_id": settings.build, "status": "finished"}
        run |= {"uri": catalog.store.uri(f"evaluations/{run_id}/index.html")}
        still_ours(catalog.store, run_id)
        with Writer(catalog.store, run_id, kind="run") as writer:
            writer.append("runs", [{**run, **stamp(), "config": json.dumps(settings.config(task), sort_keys=True)}])
            writer.append("metrics", rows)
            writer.append("scores", [{**ids, **row} for row in scores_of(tally)])

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_model(self._folder)
        return self._loaded

    def _values(self, choices: Choices, samples: Sequence[LoadedSample]) -> dict[str, Any]:
        """Values of all candidates, also of embedded ones, which the exact measures of edits need."""
        values: dict[str, Any] = {t: t for by in choices.lists.values() for t in by.get("text_concept@1", ())}
        values |= choices.values
        for sample in samples:
            content = [part for message in sample.prompt for part in message["content"]] + sample.reply
            values |= {part["asset_id"]: part["value"] for part in content if part["type"] != "text"}
        return candidate_values(self.catalog.store, choices.media.values(), values)


def _demo_counts(catalog: Catalog, build: str) -> dict[str, int]:
    """sample id -> number of demonstrations in its prompt, for the test split."""
    table = catalog.sql(
        """select s.sample_id, count(*) filter (p.icl_role = 'demo_output') as demos
           from samples s join parts p using (sample_id) where s.split = 'test' group by 1""",
        build=build,
    )
    return {row["sample_id"]: row["demos"] for row in table.to_pylist()}
