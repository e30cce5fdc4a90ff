"""The flow `train-model`: dataset version in, checkpoint in the catalog out."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

from collections.abc import Sequence
from typing import Any

from prefect import flow, task

from codi2_flows.runtime.events import model_trained
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_model.checkpoints.registry import checkpoint_rows
from codi2_model.training.pipeline_stage import SCRATCH, TrainRequest, train_and_record
from codi2_storage.store import Store


@task(name="checkpoint", **TASK_OPTIONS)
def checkpoint(request: TrainRequest) -> str:
    """Train, or reuse the checkpoint of an equal run. Returns the URI of the checkpoint."""
    return train_and_record(request)


@flow(name="train-model", validate_parameters=False)
def train_model(
    config: str = "demo",
    root: str = "./data",
    build: str | None = None,
    workers: int = 1,
    start: str = SCRATCH,
    settings: Sequence[str] = (),
) -> str:
    """Train on a dataset version (default: the latest). Returns the URI of the checkpoint.

    `start`: initial weights: `scratch`, `champion` or a checkpoint. `settings`: override those of the config.
    """
    parameters: dict[str, Any] = {
        "config": config,
        "root": Store(root).uri(),
        "build": build,
        "workers": workers,
        "start": start,
    }
    parameters |= {"settings": list(settings)} if settings else {}
    with record_run("train-model", root, parameters) as run:
        before = checkpoints(root)
        uri = checkpoint(TrainRequest(config, root, build, workers, start, tuple(settings)))
        run.update(build_id=build, uri=uri)
        if uri not in before and (identity := checkpoints(root).get(uri)):
            model_trained(root, identity, uri)
    return uri


def checkpoints(root: str) -> dict[str, str]:
    """URI -> id of every checkpoint in the catalog."""
    return {row["uri"]: row["checkpoint_id"] for row in checkpoint_rows(Store(root))}


if __name__ == "__main__":
    print(train_model())
