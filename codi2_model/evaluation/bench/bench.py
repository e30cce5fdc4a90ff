"""Run the benchmark suite `open`: one recorded run per task, so an interruption loses at most one task.

    samples picked by hash -> answers (all, fewer, foreign, no demonstrations; baselines) -> scores -> rows, pages, sheets

Equal checkpoint, build, seed and number of samples give equal rows; recorded tasks are read from the catalog.
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
from codi2_model.evaluation.bench.candidate_sets import CandidateSets, Choices
from codi2_model.evaluation.bench.conditions import baseline_answers, ladder_rows, model_answers, prompt_requests
from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.nearest import nearest_train
from codi2_model.evaluation.bench.questions import questions_of
from codi2_model.evaluation.bench.rows import SUITE, rows_of
from codi2_model.evaluation.bench.scoring import score
from codi2_model.evaluation.candidates import candidate_values
from codi2_model.evaluation.data import (
    EvaluationError,
    LoadedSample,
    SampleRow,
    answerable,
    load_samples,
    pick,
    sample_rows,
)
from codi2_model.evaluation.report.pages import write_task
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.store import Store

VERSION = 1  # increase it when the same checkpoint and build would get other results


@dataclass(frozen=True)
class BenchResult:
    """Result. rows: rows of `metrics`. runs: task -> run id. left_out: task -> reason why it has no rows."""

    checkpoint_id: str
    build_id: str
    rows: list[dict[str, Any]]
    runs: dict[str, str]
    left_out: dict[str, str]
    page: str


@dataclass(frozen=True)
class BenchSettings:
    """All settings on which the results of a task depend."""

    checkpoint_id: str
    build_id: str
    limit: int
    seed: int
    generation: GenerationSettings

    def run_id(self, task: str) -> str:
        """Id of the run of a task."""
        identity = [
            VERSION,
            SUITE,
            self.checkpoint_id,
            self.build_id,
            task,
            self.limit,
            self.seed,
            asdict(self.generation),
        ]
        return f"evaluate-{SUITE}-{digest(identity)[:16]}"

    def config(self, task: str) -> dict[str, Any]:
        """The settings as recorded in `runs.config`."""
        config = {"suite": SUITE, "task": task, "checkpoint": self.checkpoint_id, "build": self.build_id}
        return {**config, "limit": self.limit, "seed": self.seed, **asdict(self.generation)}


def run_bench(
    checkpoint: str | Path,
    root: str | Store,
    build: str | None = None,
    limit: int = 100,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    settings: GenerationSettings | None = None,
    allow_leaks: bool = False,
) -> BenchResult:
    """Evaluate a checkpoint on `limit` held-out samples of every task of a build (None: the latest).

    Raises EvaluationError for a build without test samples or with leaks, FileNotFoundError for a missing checkpoint.
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
    bench_settings = BenchSettings(
        weights_digest(folder)[:16], build_id, limit, seed, resolve_settings(settings, folder)
    )
    bench = Bench(catalog, folder, bench_settings, rows, supported)
    runs, metrics = {}, []
    todo = [task for task in chosen if task not in left_out]
    for number, task in enumerate(todo, 1):
        runs[task] = bench_settings.run_id(task)
        if committed(store, runs[task], "run") is None:
            print(f"task {number} of {len(todo)}: {task}", file=sys.stderr, flush=True)
            bench.run(task, [row for row in leak_rows if row["task"] == task])
        metrics += Catalog(store).sql("select * from metrics where run_id = ?", [runs[task]]).to_pylist()
    page = store.uri(f"evaluations/{next(iter(runs.values()))}/index.html") if runs else ""
    return BenchResult(bench_settings.checkpoint_id, build_id, metrics, runs, left_out, page)


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
        self._candidates = CandidateSets(catalog, settings.build_id, rows, settings.seed)
        self._embedder = Embedder()
        self._demos = _demo_counts(catalog, settings.build_id)

    def run(self, task: str, leak_rows: list[dict[str, Any]]) -> None:
        """Evaluate a task and record its rows, page and sheets."""
        settings, catalog = self.settings, self.catalog
        task_rows = [row for row in self.supported if row.task == task]
        picked = pick(task_rows, settings.limit, settings.seed)
        ladder, top = ladder_rows(task_rows, self._demos, max(1, settings.limit // 2), settings.seed)
        loaded = load_samples(catalog.store, {r.sample_id: r for r in [*picked, *ladder]}.values())
        samples, steps = [loaded[r.sample_id] for r in picked], [loaded[r.sample_id] for r in ladder]
        questions = [question for sample in loaded.values() for question in questions_of(sample)]
        picked_ids = {row.sample_id for row in picked}
        main = [question for question in questions if question.sample.row.sample_id in picked_ids]
        requests = prompt_requests(samples, steps, top, settings.seed)
        model, processor = self._model()
        answers, replies, reasons = model_answers(model, processor, requests, questions, settings.generation, task)
        nearest = nearest_train(catalog, settings.build_id, task, samples, settings.seed)
        answers |= baseline_answers(main, nearest, settings.seed)
        choices = self._candidates.choices(questions)
        values = self._values(choices, list(loaded.values()))
        tally = score(questions, answers, choices, values, self._embedder, prefix=len(self._candidates.kinds(task)) > 1)
        holdouts = {question.key: question.sample.row.holdout for question in questions}
        rows = [*rows_of(task, tally, holdouts, settings.seed), *leak_rows]
        run_id = settings.run_id(task)
        rows = [{"run_id": run_id, "checkpoint_id": settings.checkpoint_id, **row} for row in rows]
        with tempfile.TemporaryDirectory(prefix="codi2-bench-") as folder:
            write_task(
                Path(folder), task, settings.checkpoint_id, samples, replies, reasons, tally, rows, settings.seed
            )
            catalog.store.put_folder(folder, f"evaluations/{run_id}")
        run = {"run_id": run_id, "kind": "evaluation", "build_id": settings.build_id, "status": "finished"}
        run |= {"uri": catalog.store.uri(f"evaluations/{run_id}/index.html")}
        with Writer(catalog.store, run_id, kind="run") as writer:
            writer.append("runs", [{**run, **stamp(), "config": json.dumps(settings.config(task), sort_keys=True)}])
            writer.append("metrics", rows)

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
