"""Run a published suite on a checkpoint: prompts -> answers -> scores -> catalog, page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
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
from codi2_model.evaluation.bench.profiles import PROFILES
from codi2_model.evaluation.bench.questions import answer_in
from codi2_model.evaluation.report.figures import beside_baselines
from codi2_model.evaluation.report.outputs import GenerationItem, put_generations
from codi2_model.evaluation.report.tracking import track_evaluation
from codi2_model.evaluation.statistics import bootstrap_mean
from codi2_model.evaluation.suites import Figure, Request, Suite, SuiteError, suites
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.spool import Lazy, Spool
from codi2_storage.commits.manifests import Writer
from codi2_storage.host.folders import cache_home
from codi2_storage.store import Store

VERSION = 1  # increase it when the same checkpoint and data would get other results
SHOWN = 24  # requests on the page
PIECE = 256  # answers generated before they are written to disk
PREFIX = "published:"  # prefix of the suite's name in `metrics`


@dataclass(frozen=True)
class SuiteResult:
    """Result of a suite. rows: rows of `metrics`. page: URI of the page."""

    checkpoint_id: str
    run_id: str
    rows: list[dict[str, Any]]
    page: str


def run_suite(
    name: str,
    checkpoint: str | Path,
    root: str | Store,
    data: str | Path | None,
    weights: str | Path | None,
    limit: int | None = None,
    seed: int = 0,
    settings: GenerationSettings | None = None,
) -> SuiteResult:
    """Evaluate a checkpoint on a suite, or on `limit` of its prompts (each suite defines the unit).

    Raises SuiteError for an unknown suite, missing data, or an unsupported modality; WeightsMissing for missing judges.
    """
    suite, data, weights = resolve_suite(name, data, weights)
    folder = checkpoint_folder(checkpoint)
    if suite.modality not in modalities_of(folder):
        raise SuiteError(f"suite {name} needs {suite.modality}, which this model does not generate")
    judges = Networks(weights)
    judges.check(suite.judges)
    store = root if isinstance(root, Store) else Store(root)
    settings = resolve_settings(settings, folder)
    requests = suite.requests(Path(data), limit, seed)
    checkpoint_id = weights_digest(folder)[:16]
    keys = [request.key for request in requests]
    run_id = "evaluate-" + digest([VERSION, name, checkpoint_id, limit, seed, asdict(settings), keys])[:16]
    spool = Spool(cache_home() / "suites" / run_id)
    make_answers(folder, suite, requests, spool, settings, seed)
    answers = Lazy([partial(spool.get, key) for key in keys])
    present = [spool.has_answer(key) for key in keys]
    ids: dict[str, Any] = {"run_id": run_id, "checkpoint_id": checkpoint_id}
    figures = [*suite.score(Path(data), requests, answers, judges), *answered(requests, present)]
    rows = [{**ids, **row_of(suite, figure, seed)} for figure in figures]
    page = write_page(store, run_id, suite, requests, spool, rows)
    config = {"suite": PREFIX + name, "checkpoint": checkpoint_id, "limit": limit, "seed": seed, **asdict(settings)}
    run = {"run_id": run_id, "kind": "evaluation", "status": "finished", "uri": page}
    with Writer(store, run_id, kind="run") as writer:
        writer.append("runs", [{**run, **stamp(), "config": json.dumps(config, sort_keys=True)}])
        writer.append("metrics", rows)
    track_evaluation(name, checkpoint_id, rows, {row["task"]: run_id for row in rows})
    return SuiteResult(checkpoint_id, run_id, rows, page)


def resolve_suite(
    name: str, data: str | Path | None, weights: str | Path | None
) -> tuple[Suite, str | Path, str | Path]:
    """The suite and its folders. Raises SuiteError for an unknown suite, or missing options."""
    if name not in suites():
        raise SuiteError(f"no suite {name!r}; available: {', '.join((*PROFILES, *suites()))}")
    suite = suites()[name]
    if data is None or weights is None:
        raise SuiteError(f"suite {name} needs --data (its files) and --weights (its judges: {', '.join(suite.judges)})")
    return suite, data, weights


def answered(requests: Sequence[Request], present: Sequence[bool]) -> list[Figure]:
    """Share of requests with an answer, by task."""
    figures = []
    for task in sorted({request.task for request in requests}):
        shares = [
            float(is_present) for request, is_present in zip(requests, present, strict=True) if request.task == task
        ]
        figures.append(Figure(task, "answered", value=sum(shares) / len(shares), n=len(shares)))
    return figures


def make_answers(
    folder: Path, suite: Suite, requests: Sequence[Request], spool: Spool, settings: GenerationSettings, seed: int
) -> None:
    """Answer the requests that are missing in the spool, piece by piece. Loads the model only if there are any."""
    todo = [request for request in requests if not spool.has(request.key)]
    if not todo:
        return
    model, processor = load_model(folder)
    for start in range(0, len(todo), PIECE):
        piece = todo[start : start + PIECE]
        label = f"{suite.name}, {start:,} of {len(todo):,} done" if len(todo) > PIECE else suite.name
        prompts = [PromptRequest(r.key, r.prompt, (suite.modality,), answer_seed(seed, r.key)) for r in piece]
        contents, failures = answer_all(model, processor, prompts, settings, label)
        for request in piece:
            spool.put(request.key, answer_in(contents.get(request.key), suite.modality), failures.get(request.key, ""))


def row_of(suite: Suite, figure: Figure, seed: int) -> dict[str, Any]:
    """The row of `metrics` of a figure."""
    row: dict[str, Any] = {"suite": PREFIX + suite.name, "task": figure.task, "split": "test"}
    row |= {"metric": figure.metric, "baseline": figure.baseline}
    if figure.scores is None:
        return {**row, "value": figure.value, "low": None, "high": None, "n": figure.n}
    estimate = bootstrap_mean([figure.scores[group] for group in sorted(figure.scores)], seed)
    return {**row, "value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def write_page(
    store: Store,
    run_id: str,
    suite: Suite,
    requests: Sequence[Request],
    spool: Spool,
    rows: list[dict[str, Any]],
) -> str:
    """Write a page with the figures and the first requests with answers. Returns its URI."""
    items = []
    for request in requests[:SHOWN]:
        value = spool.get(request.key)
        output = [] if value is None else [{"type": suite.modality, "value": value}]
        note = spool.reason(request.key)
        items.append(GenerationItem(request.key, request.task, request.prompt, output, request.truth, note))
    columns, cells = beside_baselines(rows)
    table = {"title": f"{suite.name} ({suite.source})", "columns": columns, "rows": cells}
    return put_generations(store, f"evaluations/{run_id}", items, suite.name, [table])
