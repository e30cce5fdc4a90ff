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
from codi2_model.evaluation.answering import Ask, GenerationSettings, answer_all, modalities_of, seed_of, settled
from codi2_model.evaluation.report.outputs import GenerationItem, put_generations
from codi2_model.evaluation.scoring import summary
from codi2_model.evaluation.statistics import bootstrap_mean
from codi2_model.evaluation.suites import Figure, Request, Suite, SuiteError, suites
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.spool import Lazy, Spool
from codi2_storage.commits.manifests import Writer
from codi2_storage.host.folders import cache_home
from codi2_storage.store import Store

VERSION = 1  # raised whenever the same checkpoint and data would get other figures
SHOWN = 24
PIECE = 256  # answers made between two visits to the disk
PREFIX = "published:"  # of the suite's name in the metrics table


@dataclass(frozen=True)
class SuiteResult:
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
    """Measure a checkpoint by one suite, all of it or `limit` prompts (each suite says of what).

    Raises SuiteError where the suite, its data or the model's modality is missing, WeightsMissing for its judges.
    """
    suite, data, weights = ready(name, data, weights)
    folder = checkpoint_folder(checkpoint)
    if suite.modality not in modalities_of(folder):
        raise SuiteError(f"suite {name} asks for {suite.modality}, which this model does not make")
    judges = Networks(weights)
    judges.check(suite.judges)
    store = root if isinstance(root, Store) else Store(root)
    settings = settled(settings, folder)
    asked = suite.requests(Path(data), limit, seed)
    checkpoint_id = weights_digest(folder)[:16]
    keys = [request.key for request in asked]
    run_id = "evaluate-" + digest([VERSION, name, checkpoint_id, limit, seed, asdict(settings), keys])[:16]
    spool = Spool(cache_home() / "suites" / run_id)
    make_answers(folder, suite, asked, spool, settings, seed)
    answers = Lazy([partial(spool.get, key) for key in keys])
    there = [spool.there(key) for key in keys]
    about: dict[str, Any] = {"run_id": run_id, "checkpoint_id": checkpoint_id}
    figures = [*suite.score(Path(data), asked, answers, judges), *answered(asked, there)]
    rows = [{**about, **row_of(suite, figure, seed)} for figure in figures]
    page = write_page(store, run_id, suite, asked, spool, rows)
    config = {"suite": PREFIX + name, "checkpoint": checkpoint_id, "limit": limit, "seed": seed, **asdict(settings)}
    run = {"run_id": run_id, "kind": "evaluation", "status": "finished", "uri": page}
    with Writer(store, run_id, kind="run") as writer:
        writer.append("runs", [{**run, **stamp(), "config": json.dumps(config, sort_keys=True)}])
        writer.append("metrics", rows)
    return SuiteResult(checkpoint_id, run_id, rows, page)


def ready(name: str, data: str | Path | None, weights: str | Path | None) -> tuple[Suite, str | Path, str | Path]:
    """The suite and its folders. Raises SuiteError for a name nobody registered, or a folder that was not given."""
    if name not in suites():
        raise SuiteError(f"no suite {name!r}: known are short, open, {', '.join(suites())}")
    suite = suites()[name]
    if data is None or weights is None:
        raise SuiteError(f"suite {name} needs --data (its files) and --weights (its judges: {', '.join(suite.judges)})")
    return suite, data, weights


def medium(content: Sequence[dict[str, Any]] | None, modality: str) -> Any | None:
    return next((part["value"] for part in content or () if part["type"] == modality), None)


def answered(asked: Sequence[Request], there: Sequence[bool]) -> list[Figure]:
    """The share of requests with an answer, by task."""
    found = []
    for task in sorted({request.task for request in asked}):
        shares = [float(is_there) for request, is_there in zip(asked, there, strict=True) if request.task == task]
        found.append(Figure(task, "answered", value=sum(shares) / len(shares), n=len(shares)))
    return found


def make_answers(
    folder: Path, suite: Suite, asked: Sequence[Request], spool: Spool, settings: GenerationSettings, seed: int
) -> None:
    """Answer what the spool lacks, piece by piece; the model is loaded only if there is any."""
    todo = [request for request in asked if not spool.has(request.key)]
    if not todo:
        return
    model, processor = load_model(folder)
    for start in range(0, len(todo), PIECE):
        piece = todo[start : start + PIECE]
        label = f"{suite.name}, {start:,} of {len(todo):,} done" if len(todo) > PIECE else suite.name
        asks = [Ask(r.key, r.prompt, (suite.modality,), seed_of(seed, r.key)) for r in piece]
        contents, failures = answer_all(model, processor, asks, settings, label)
        for request in piece:
            spool.put(request.key, medium(contents.get(request.key), suite.modality), failures.get(request.key, ""))


def row_of(suite: Suite, figure: Figure, seed: int) -> dict[str, Any]:
    about: dict[str, Any] = {"suite": PREFIX + suite.name, "task": figure.task, "split": "test"}
    about |= {"metric": figure.metric, "baseline": figure.baseline}
    if figure.scores is None:
        return {**about, "value": figure.value, "low": None, "high": None, "n": figure.n}
    found = bootstrap_mean([figure.scores[group] for group in sorted(figure.scores)], seed)
    return {**about, "value": found.value, "low": found.low, "high": found.high, "n": found.n}


def write_page(
    store: Store,
    run_id: str,
    suite: Suite,
    asked: Sequence[Request],
    spool: Spool,
    rows: list[dict[str, Any]],
) -> str:
    """The first requests with their answers, the figures above them. Returns the page's URI."""
    items = []
    for request in asked[:SHOWN]:
        value = spool.get(request.key)
        output = [] if value is None else [{"type": suite.modality, "value": value}]
        note = spool.reason(request.key)
        items.append(GenerationItem(request.key, request.task, request.prompt, output, request.truth, note))
    columns, cells = summary(rows)
    table = {"title": f"{suite.name} ({suite.source})", "columns": columns, "rows": cells}
    return put_generations(store, f"evaluations/{run_id}", items, suite.name, [table])
