"""Flow: a dataset version -> a checkpoint in the catalog."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect import flow, task

from codi2_model.training.stage import TrainRequest, train_and_record


@task(name="checkpoint")
def checkpoint(request: TrainRequest) -> str:
    """Train, or find what an equal run trained before. Returns the checkpoint's URI."""
    return train_and_record(request)


@flow(name="train-model", validate_parameters=False)
def train_model(config: str = "demo", root: str = "./data", build: str | None = None, workers: int = 1) -> str:
    """Train on a dataset version (the latest if none is named). Returns the checkpoint's URI."""
    return checkpoint(TrainRequest(config, root, build, workers))


if __name__ == "__main__":
    print(train_model())
