"""Flow: a checkpoint -> metrics in the catalog, a page and a contact sheet."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)
from typing import Any

from prefect import flow, task

from codi2_model.checkpoints import resolve


@task(name="metrics")
def metrics(checkpoint: str, root: str, build: str | None, limit: int, seed: int) -> dict[str, Any]:
    """Judge a checkpoint on the held-out split. Returns the rows of the metrics table and where the page lies."""
    from codi2_model.evaluation import evaluate

    result = evaluate(checkpoint, root, build=build, limit=limit, seed=seed)
    return {
        "rows": result.rows,
        "page": result.page,
        "contact_sheet": result.contact_sheet,
        "checkpoint_id": result.checkpoint_id,
        "leaks": sum(result.leaks.values()),
    }


@flow(name="evaluate-model", validate_parameters=False)
def evaluate_model(
    checkpoint: str | None = None, root: str = "./data", build: str | None = None, limit: int = 24, seed: int = 0
) -> dict[str, Any]:
    """Evaluate a checkpoint (the promoted one if none is named) on a build (the latest if none is named)."""
    return metrics(str(resolve(root, checkpoint)), root, build, limit, seed)


if __name__ == "__main__":
    print(evaluate_model()["page"])
