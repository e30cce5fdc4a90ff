"""Flow: a checkpoint -> metrics in the catalog, a page and a contact sheet."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
from typing import Any

from prefect import flow, task

from codi2_datasets.formats.hashing import digest
from codi2_flows.runtime.artifacts import figures
from codi2_flows.runtime.record_run import recorded
from codi2_flows.runtime.tasks import LASTING
from codi2_model.checkpoints.registry import resolve
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store
from codi2_storage.uris import relative

SHORT, OPEN = "short", "open"
SAMPLES = {SHORT: 24, OPEN: 100}  # of each task, where no other number is asked for; published suites: all they have


@task(name="metrics", **LASTING)
def metrics(checkpoint: str, root: str, build: str | None, limit: int, seed: int) -> dict[str, Any]:
    """Judge a checkpoint on the held-out split. Returns the rows of the metrics table and where the page lies.

    An equal evaluation (weights, build, samples, seed, version of the evaluator) is read back from the catalog.
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


@task(name="bench", **LASTING)
def bench(
    checkpoint: str, root: str, build: str | None, limit: int, seed: int, tasks: list[str] | None
) -> dict[str, Any]:
    """The open suite. Returns the main rows: of the whole split, without the paired gains, which the catalog holds too."""
    from codi2_model.evaluation.bench.bench import run_bench
    from codi2_model.evaluation.bench.measures import GAIN

    found = run_bench(checkpoint, root, build, limit, seed, tasks)
    rows = [row for row in found.rows if row["split"] == "test" and not row["metric"].endswith(GAIN)]
    return {"rows": rows, "page": found.page, "checkpoint_id": found.checkpoint_id}


@task(name="published-suite", **LASTING)
def published(
    suite: str, checkpoint: str, root: str, data: str | None, weights: str | None, limit: int | None, seed: int
) -> dict[str, Any]:
    """A suite as others published it, from a folder with its data and one with its judges."""
    from codi2_model.evaluation.suites.running import run_suite

    found = run_suite(suite, checkpoint, root, data, weights, limit, seed)
    return {"rows": found.rows, "page": found.page, "checkpoint_id": found.checkpoint_id}


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
    """Evaluate a checkpoint (the promoted one if none is named) on a build (the latest if none is named)."""
    parameters: dict[str, Any] = {"checkpoint": checkpoint, "root": Store(root).uri(), "build": build, "limit": limit}
    parameters |= {"seed": seed, "suite": suite, "tasks": tasks, "data": data, "weights": weights}
    with recorded("evaluate-model", root, parameters) as run:
        result = judged(**parameters)
        run.note(build_id=build, uri=result["page"])
        figures(result["rows"], result["checkpoint_id"], result["page"])
    return result


def judged(
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
    """The body of the flow. Of equal evaluations at once one does the work; the others wait, and find what it committed."""
    folder = str(resolve(root, checkpoint))
    samples = SAMPLES.get(suite, 0) if limit is None else limit
    if suite == SHORT:
        return metrics(folder, root, build, samples, seed)  # takes its turn by itself
    store = Store(root)
    turn = f"evaluate-{digest([suite, relative(store, folder), build, samples, seed, tasks, data])[:16]}"
    with lease(store, turn, about=f"an evaluation of {folder}"):
        if suite == OPEN:
            return bench(folder, root, build, samples, seed, tasks)
        return published(suite, folder, root, data, weights, limit, seed)


if __name__ == "__main__":
    print(evaluate_model()["page"])
