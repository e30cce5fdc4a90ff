"""The flow `evaluate-model`: checkpoint in; metrics in the catalog, a page and a contact sheet out."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
from typing import Any

from prefect import flow, task

from codi2_datasets.formats.hashing import digest
from codi2_flows.runtime.artifacts import metrics_artifact
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_model.checkpoints.registry import resolve
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store
from codi2_storage.uris import relative

SHORT, OPEN = "short", "open"
SAMPLES = {SHORT: 24, OPEN: 100}  # default number of samples of each task; published suites use all they have


@task(name="metrics", **TASK_OPTIONS)
def metrics(checkpoint: str, root: str, build: str | None, limit: int, seed: int) -> dict[str, Any]:
    """Evaluate a checkpoint on the held-out split. Returns the rows of the table `metrics` and the path of the page.

    If the catalog has an equal evaluation (weights, build, samples, seed, version of the evaluator), it is read back.
    """
    from codi2_model.evaluation import evaluate

    result = evaluate(checkpoint, root, build=build, limit=limit, seed=seed)
    return {
        "run_id": result.run_id,
        "rows": result.rows,
        "page": result.page,
        "contact_sheet": result.contact_sheet,
        "checkpoint_id": result.checkpoint_id,
        "leaks": sum(result.leaks.values()),
    }


@task(name="bench", **TASK_OPTIONS)
def bench(
    checkpoint: str, root: str, build: str | None, limit: int, seed: int, tasks: list[str] | None
) -> dict[str, Any]:
    """Run the open suite. Returns the main rows: those of the whole split, without paired gains (in the catalog)."""
    from codi2_model.evaluation.bench.bench import run_bench
    from codi2_model.evaluation.bench.measures import GAIN

    result = run_bench(checkpoint, root, build, limit, seed, tasks)
    rows = [row for row in result.rows if row["split"] == "test" and not row["metric"].endswith(GAIN)]
    return {"rows": rows, "page": result.page, "checkpoint_id": result.checkpoint_id}


@task(name="published-suite", **TASK_OPTIONS)
def published_suite(
    suite: str, checkpoint: str, root: str, data: str | None, weights: str | None, limit: int | None, seed: int
) -> dict[str, Any]:
    """Run a published suite. `data`: folder with its data; `weights`: folder with its judges."""
    from codi2_model.evaluation.suites.running import run_suite

    result = run_suite(suite, checkpoint, root, data, weights, limit, seed)
    return {"rows": result.rows, "page": result.page, "checkpoint_id": result.checkpoint_id}


@flow(name="evaluate-model", validate_parameters=False)
def evaluate_model(
    checkpoint: str | None = None,
    root: str = "./data",
    build: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    suite: str = SHORT,
    tasks: list[str] | None = None,
    data: str | None = None,
    weights: str | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint (default: the promoted one) on a build (default: the latest)."""
    parameters: dict[str, Any] = {"checkpoint": checkpoint, "root": Store(root).uri(), "build": build, "limit": limit}
    parameters |= {"seed": seed, "suite": suite, "tasks": tasks, "data": data, "weights": weights}
    with record_run("evaluate-model", root, parameters) as run:
        result = run_evaluation(**parameters)
        run.update(build_id=build, uri=result["page"])
        metrics_artifact(result["rows"], result["checkpoint_id"], result["page"])
    return result


def run_evaluation(
    checkpoint: str | None,
    root: str,
    build: str | None,
    limit: int | None,
    seed: int,
    suite: str,
    tasks: list[str] | None,
    data: str | None,
    weights: str | None,
) -> dict[str, Any]:
    """Run the suite under a lease: of several equal evaluations one does the work, the others wait and read its result."""
    folder = str(resolve(root, checkpoint))
    samples = SAMPLES.get(suite, 0) if limit is None else limit
    if suite == SHORT:
        return metrics(folder, root, build, samples, seed)  # takes a lease of its own
    store = Store(root)
    name = f"evaluate-{digest([suite, relative(store, folder), build, samples, seed, tasks, data])[:16]}"
    with lease(store, name, about=f"an evaluation of {folder}"):
        if suite == OPEN:
            return bench(folder, root, build, samples, seed, tasks)
        return published_suite(suite, folder, root, data, weights, limit, seed)


if __name__ == "__main__":
    print(evaluate_model()["page"])
