"""The flow `evaluate-model`: checkpoint in; metrics in the catalog and a page out."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
from typing import Any

from prefect import flow, task

from codi2_datasets.formats.hashing import digest
from codi2_flows.runtime.artifacts import metrics_artifact
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_model.checkpoints.registry import resolve
from codi2_model.evaluation.bench.profiles import PROFILES, QUICK
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store
from codi2_storage.uris import relative


@task(name="evaluation", **TASK_OPTIONS)
def evaluation(
    checkpoint: str,
    root: str,
    build: str | None,
    limit: int | None,
    seed: int,
    suite: str = QUICK,
    tasks: list[str] | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on the held-out split; tasks with an equal evaluation in the catalog are read back.

    Returns the path of the page and the main rows: those of the whole split, without paired gains (in the catalog).
    """
    from codi2_model.evaluation import evaluate
    from codi2_model.evaluation.bench.measures import GAIN

    result = evaluate(checkpoint, root, build, suite, limit, seed, tasks)
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
    suite: str = QUICK,
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
    """Run the suite. Of several equal evaluations one does the work, the others wait for its lease and read its result."""
    folder = str(resolve(root, checkpoint))
    if suite in PROFILES:
        return evaluation(folder, root, build, limit, seed, suite, tasks)
    store = Store(root)
    name = f"evaluate-{digest([suite, relative(store, folder), limit, seed, data])[:16]}"
    with lease(store, name, about=f"an evaluation of {folder}"):
        return published_suite(suite, folder, root, data, weights, limit, seed)


if __name__ == "__main__":
    print(evaluate_model()["page"])
