"""Flow: a dataset version -> a checkpoint in the catalog."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect import flow, task

from codi2_flows.running import recorded
from codi2_flows.tasks import LASTING
from codi2_model.training.stage import TrainRequest, train_and_record
from codi2_storage.store import Store


@task(name="checkpoint", **LASTING)
def checkpoint(request: TrainRequest) -> str:
    """Train, or find what an equal run trained before. Returns the checkpoint's URI."""
    return train_and_record(request)


@flow(name="train-model", validate_parameters=False)
def train_model(config: str = "demo", root: str = "./data", build: str | None = None, workers: int = 1) -> str:
    """Train on a dataset version (the latest if none is named). Returns the checkpoint's URI."""
    parameters = {"config": config, "root": Store(root).uri(), "build": build, "workers": workers}
    with recorded("train-model", root, parameters) as run:
        uri = checkpoint(TrainRequest(config, root, build, workers))
        run.note(build_id=build, uri=uri)
    return uri


if __name__ == "__main__":
    print(train_model())
