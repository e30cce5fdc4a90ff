"""Run the bench: task after task, each one a run of its own in the catalog, so that a stop costs one task at most.

    picked by hash -> answers (demonstrations whole, cut, foreign, gone; baselines) -> scores -> rows, pages, sheets

The same checkpoint, build, seed and number of samples give the same rows; what was done before is read back.
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
from codi2_model.evaluation.answering import GenerationSettings, modalities_of, settled
from codi2_model.evaluation.bench import leakage
from codi2_model.evaluation.bench.candidate_sets import Choices, Rivals
from codi2_model.evaluation.bench.conditions import asks_of, baseline_answers, ladder_rows, model_answers
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

VERSION = 1  # raised whenever the same checkpoint and build would get other figures


@dataclass(frozen=True)
class BenchResult:
    """`rows` as they stand in the metrics table; `runs`: task -> run; `left_out`: task -> why it has no rows."""

    checkpoint_id: str
    build_id: str
    rows: list[dict[str, Any]]
    runs: dict[str, str]
    left_out: dict[str, str]
    page: str


@dataclass(frozen=True)
class Setting:
    """What the figures of a task depend on."""

    checkpoint_id: str
    build_id: str
    limit: int
    seed: int
    generation: GenerationSettings

    def run_id(self, task: str) -> str:
        about = [
            VERSION,
            SUITE,
            self.checkpoint_id,
            self.build_id,
            task,
            self.limit,
            self.seed,
            asdict(self.generation),
        ]
        return f"evaluate-{SUITE}-{digest(about)[:16]}"

    def config(self, task: str) -> dict[str, Any]:
        about = {"suite": SUITE, "task": task, "checkpoint": self.checkpoint_id, "build": self.build_id}
        return {**about, "limit": self.limit, "seed": self.seed, **asdict(self.generation)}


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
    """Measure a checkpoint on `limit` held-out samples of every task of a build (the latest).

    Raises EvaluationError for a build without test samples or with leaks, FileNotFoundError for no checkpoint.
    """
    store = root if isinstance(root, Store) else Store(root)
    folder = checkpoint_folder(checkpoint)
    catalog = Catalog(store)
    build_id = catalog.named(build)
    if build_id is None:
        raise EvaluationError(f"nothing to evaluate on: no published build under {store.root}")
    rows = sample_rows(catalog, build_id, "test")
    known = sorted({row.task for row in rows})
    unknown = sorted(set(tasks or ()) - set(known))
    if unknown or not known:
        raise EvaluationError(
            f"build {build_id} holds no test samples" + (f" of {', '.join(unknown)}" if unknown else "")
        )
    chosen = [task for task in known if tasks is None or task in tasks]
    leak_rows = leakage.check(catalog, build_id, chosen, allow_leaks)
    kept, lost = answerable(catalog, build_id, rows, modalities_of(folder))
    left_out = {task: reason for task, reason in lost.items() if task in chosen}
    for task, reason in left_out.items():
        print(f"{task}: left out, {reason}", file=sys.stderr)
    setting = Setting(weights_digest(folder)[:16], build_id, limit, seed, settled(settings, folder))
    bench = Bench(catalog, folder, setting, rows, kept)
    runs, found = {}, []
    todo = [task for task in chosen if task not in left_out]
    for number, task in enumerate(todo, 1):
        runs[task] = setting.run_id(task)
        if committed(store, runs[task], "run") is None:
            print(f"task {number} of {len(todo)}: {task}", file=sys.stderr, flush=True)
            bench.run(task, [row for row in leak_rows if row["task"] == task])
        found += Catalog(store).sql("select * from metrics where run_id = ?", [runs[task]]).to_pylist()
    page = store.uri(f"evaluations/{next(iter(runs.values()))}/index.html") if runs else ""
    return BenchResult(setting.checkpoint_id, build_id, found, runs, left_out, page)


class Bench:
    """What the tasks of one run share: the catalog's view, the judges' embeddings, the model once it is needed."""

    def __init__(
        self, catalog: Catalog, folder: Path, setting: Setting, rows: Sequence[SampleRow], kept: Sequence[SampleRow]
    ) -> None:
        """`rows`: all test samples, among which rivals are found; `kept`: those that the model can be asked."""
        self.catalog, self.setting, self.kept = catalog, setting, kept
        self._folder = folder
        self._loaded: tuple[Any, Any] | None = None
        self._rivals = Rivals(catalog, setting.build_id, rows, setting.seed)
        self._embedder = Embedder()
        self._demos = _demo_numbers(catalog, setting.build_id)

    def run(self, task: str, leak_rows: list[dict[str, Any]]) -> None:
        """Measure one task and commit its rows, with its page and sheets."""
        setting, catalog = self.setting, self.catalog
        mine = [row for row in self.kept if row.task == task]
        picked = pick(mine, setting.limit, setting.seed)
        ladder, top = ladder_rows(mine, self._demos, max(1, setting.limit // 2), setting.seed)
        loaded = load_samples(catalog.store, {r.sample_id: r for r in [*picked, *ladder]}.values())
        samples, steps = [loaded[r.sample_id] for r in picked], [loaded[r.sample_id] for r in ladder]
        questions = [question for sample in loaded.values() for question in questions_of(sample)]
        asked = {row.sample_id for row in picked}
        main = [question for question in questions if question.sample.row.sample_id in asked]
        asks = asks_of(samples, steps, top, setting.seed)
        model, processor = self._model()
        answers, replies, reasons = model_answers(model, processor, asks, questions, setting.generation, task)
        nearest = nearest_train(catalog, setting.build_id, task, samples, setting.seed)
        answers |= baseline_answers(main, nearest, setting.seed)
        choices = self._rivals.choices(questions)
        values = self._values(choices, list(loaded.values()))
        tally = score(questions, answers, choices, values, self._embedder, prefix=len(self._rivals.kinds(task)) > 1)
        holdouts = {question.key: question.sample.row.holdout for question in questions}
        rows = [*rows_of(task, tally, holdouts, setting.seed), *leak_rows]
        run_id = setting.run_id(task)
        rows = [{"run_id": run_id, "checkpoint_id": setting.checkpoint_id, **row} for row in rows]
        with tempfile.TemporaryDirectory(prefix="codi2-bench-") as folder:
            write_task(Path(folder), task, setting.checkpoint_id, samples, replies, reasons, tally, rows, setting.seed)
            catalog.store.put_folder(folder, f"evaluations/{run_id}")
        about = {"run_id": run_id, "kind": "evaluation", "build_id": setting.build_id, "status": "finished"}
        about |= {"uri": catalog.store.uri(f"evaluations/{run_id}/index.html")}
        with Writer(catalog.store, run_id, kind="run") as writer:
            writer.append("runs", [{**about, **stamp(), "config": json.dumps(setting.config(task), sort_keys=True)}])
            writer.append("metrics", rows)

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_model(self._folder)
        return self._loaded

    def _values(self, choices: Choices, samples: Sequence[LoadedSample]) -> dict[str, Any]:
        """Values of all candidates; those that were embedded before are still needed by the exact measures of edits."""
        values: dict[str, Any] = {t: t for by in choices.lists.values() for t in by.get("text_concept@1", ())}
        values |= choices.made
        for sample in samples:
            content = [part for message in sample.prompt for part in message["content"]] + sample.reply
            values |= {part["asset_id"]: part["value"] for part in content if part["type"] != "text"}
        return candidate_values(self.catalog.store, choices.media.values(), values)


def _demo_numbers(catalog: Catalog, build: str) -> dict[str, int]:
    """sample id -> demonstrations in its prompt, of the test split."""
    table = catalog.sql(
        """select s.sample_id, count(*) filter (p.icl_role = 'demo_output') as demos
           from samples s join parts p using (sample_id) where s.split = 'test' group by 1""",
        build=build,
    )
    return {row["sample_id"]: row["demos"] for row in table.to_pylist()}
