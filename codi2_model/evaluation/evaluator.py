"""Evaluate a checkpoint on the held-out split of a build.

    test shards -> samples picked by hash -> batched generation -> judges, text scores -> catalog, page, contact sheet

Baselines are scored by the same judges into the same table. Equal checkpoint, build and seed give equal rows, so the result
of an earlier evaluation is read from the catalog.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import checkpoint_folder, load_model, stamp
from codi2_model.evaluation.answering import (
    GenerationSettings,
    PromptRequest,
    answer_all,
    answer_seed,
    modalities_of,
    resolve_settings,
)
from codi2_model.evaluation.data import (
    EvaluationError,
    Leak,
    LoadedSample,
    SampleRow,
    answerable,
    leaks,
    load_samples,
    pick,
    sample_rows,
)
from codi2_model.evaluation.judging import judge_answers, metric_row, nearest_train_answers, score_retrieval
from codi2_model.evaluation.report.outputs import GenerationItem, put_generations, write_generations
from codi2_model.evaluation.scoring import summary
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.coordination.leases import lease, still_ours
from codi2_storage.store import Store

VERSION = 3  # increase it when the same checkpoint and build would get other results


@dataclass(frozen=True)
class EvaluationResult:
    """Result of an evaluation. rows: rows of `metrics`. leaks: task -> number of test targets in train samples."""

    run_id: str
    checkpoint_id: str
    build_id: str
    samples: int
    rows: list[dict[str, Any]]
    leaks: dict[str, int]
    page: str
    contact_sheet: str

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and cells of a table, the model next to its baselines."""
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
    """Evaluate `limit` test samples of each task, record the metrics, and write the page.

    out: local folder of the page; None: `evaluations/` in the store. Raises EvaluationError if the build has no test
    samples, FileNotFoundError for a missing checkpoint.
    """
    store = root if isinstance(root, Store) else Store(root)
    folder = checkpoint_folder(checkpoint)
    settings = resolve_settings(settings, folder)
    catalog = Catalog(store)
    build_id = catalog.named(build)
    if build_id is None:
        raise EvaluationError(f"no published build under {store.root} to evaluate on; run `codi2 build` first")
    test_rows = [row for row in sample_rows(catalog, build_id, "test") if tasks is None or row.task in tasks]
    rows, left_out = answerable(catalog, build_id, test_rows, modalities_of(folder))
    for task, reason in left_out.items():
        print(f"evaluate: skipped task {task}: {reason}", file=sys.stderr)
    picked = pick(rows, limit, seed)
    if not picked:
        condition = " that the model supports" if left_out else f" of {', '.join(tasks)}" if tasks else ""
        raise EvaluationError(f"build {build_id} has no test samples{condition}")
    checkpoint_id = checkpoint_id or weights_digest(folder)[:16]
    identity = [VERSION, checkpoint_id, build_id, limit, seed, sorted(tasks or ()), settings.__dict__]
    run_id = "evaluate-" + digest(identity)[:16]
    leaked = leaks(catalog, build_id)
    spec = EvaluationSpec(folder, catalog, build_id, rows, picked, leaked, limit, seed, settings, checkpoint_id, run_id)
    if out is not None:
        return _run(spec, out)
    with lease(store, run_id, about=f"an evaluation of {checkpoint_id}"):  # one of several equal evaluations runs
        return _recorded(spec) or _run(spec)


@dataclass(frozen=True)
class EvaluationSpec:
    """An evaluation with picked samples and a run id."""

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
        """Task -> number of leaked test targets."""
        return {leak.task: leak.leaked for leak in self.leaked}


def _recorded(spec: EvaluationSpec) -> EvaluationResult | None:
    """The recorded result of an equal evaluation, if any."""
    store, run_id = spec.catalog.store, spec.run_id
    rows = _recorded_rows(Catalog(store), run_id)
    if not rows:
        return None
    page, sheet = store.uri(f"evaluations/{run_id}/index.html"), store.uri(f"evaluations/{run_id}/contact_sheet.png")
    return EvaluationResult(run_id, spec.checkpoint_id, spec.build_id, len(spec.picked), rows, spec.leaks, page, sheet)


def _run(spec: EvaluationSpec, out: str | Path | None = None) -> EvaluationResult:
    """Generate, judge, write the page, and record the result."""
    catalog, store, build_id, rows = spec.catalog, spec.catalog.store, spec.build_id, spec.rows
    picked, seed, settings, run_id, checkpoint_id = (
        spec.picked, spec.seed, spec.settings, spec.run_id, spec.checkpoint_id
    )  # fmt: skip
    model, processor = load_model(spec.folder)
    loaded = load_samples(store, picked)
    samples = [loaded[row.sample_id] for row in picked]
    outputs = generate_answers(model, processor, samples, seed, settings)
    nearest = nearest_train_answers(catalog, store, build_id, samples, seed)
    metrics, scores, notes = judge_answers(catalog, store, build_id, rows, samples, outputs, nearest, seed)
    for task_metrics, task_scores in score_retrieval(model, processor, store, rows, seed):
        metrics, scores = metrics + task_metrics, scores + task_scores
    metrics += [metric_row("leaks", x.task, "test_targets_in_train", float(x.leaked), n=x.targets) for x in spec.leaked]
    ids = {"run_id": run_id, "checkpoint_id": checkpoint_id}
    metrics = [{**ids, **row} for row in metrics]

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
    config = {"build": build_id, "limit": spec.limit, "seed": seed, "checkpoint": checkpoint_id, **settings.__dict__}
    run = {"run_id": run_id, "kind": "evaluation", "build_id": build_id, "status": "finished", "uri": page}
    still_ours(store, run_id)
    with Writer(store, run_id, kind="run") as writer:
        writer.append("runs", [{**run, **stamp(), "config": json.dumps(config, sort_keys=True)}])
        writer.append("metrics", metrics)
        writer.append("scores", [{**ids, **row} for row in scores])
    return EvaluationResult(run_id, checkpoint_id, build_id, len(samples), metrics, spec.leaks, page, sheet)


def generate_answers(
    model: Any, processor: Any, samples: Sequence[LoadedSample], seed: int, settings: GenerationSettings
) -> dict[str, list[dict[str, Any]]]:
    """sample id -> content parts, empty if generation failed."""
    requests = [
        PromptRequest(s.row.sample_id, s.prompt, (s.target["type"],), answer_seed(seed, s.row.sample_id))
        for s in samples
    ]
    answers, _ = answer_all(model, processor, requests, settings)
    return {request.key: answers.get(request.key, []) for request in requests}


def _write_page(
    store: Store, run_id: str, out: str | Path | None, items: list[GenerationItem], title: str, tables: list[dict]
) -> tuple[str, str]:
    """Write the page. Returns (page, contact sheet) as paths or URIs."""
    if out is not None:
        written = write_generations(out, items, title, tables)
        return str(written.page), str(written.contact_sheet)
    name = f"evaluations/{run_id}"
    return put_generations(store, name, items, title, tables), store.uri(f"{name}/contact_sheet.png")


def _recorded_rows(catalog: Catalog, run_id: str) -> list[dict[str, Any]]:
    """Rows of `metrics` of an evaluation in the order written; empty if it is not recorded or its page is gone."""
    if committed(catalog.store, run_id, "run") is None or not catalog.store.exists(f"evaluations/{run_id}/index.html"):
        return []
    return catalog.sql("select * from metrics where run_id = ?", [run_id]).to_pylist()
