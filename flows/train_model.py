"""Flow: a dataset version -> a checkpoint in the catalog."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect import flow, task

from codi2_flows.runtime.events import model_trained
from codi2_flows.runtime.record_run import recorded
from codi2_flows.runtime.tasks import LASTING
from codi2_model.checkpoints.registry import checkpoint_rows
from codi2_model.training.pipeline_stage import SCRATCH, TrainRequest, train_and_record
from codi2_storage.store import Store


@task(name="checkpoint", **LASTING)
def checkpoint(request: TrainRequest) -> str:
    """Train, or find what an equal run trained before. Returns the checkpoint's URI."""
    return train_and_record(request)


@flow(name="train-model", validate_parameters=False)
def train_model(
    config: str = "demo", root: str = "./data", build: str | None = None, workers: int = 1, start: str = SCRATCH
) -> str:
    """Train on a dataset version (the latest if none is named), from scratch or from the weights of `start`: champion or a
    checkpoint. Returns the checkpoint's URI."""
    parameters = {"config": config, "root": Store(root).uri(), "build": build, "workers": workers, "start": start}
    with recorded("train-model", root, parameters) as run:
        before = checkpoints(root)
        uri = checkpoint(TrainRequest(config, root, build, workers, start))
        run.note(build_id=build, uri=uri)
        if uri not in before and (identity := checkpoints(root).get(uri)):
            model_trained(root, identity, uri)
    return uri


def checkpoints(root: str) -> dict[str, str]:
    """Ids of all checkpoints that the catalog holds, by their URI."""
    return {row["uri"]: row["checkpoint_id"] for row in checkpoint_rows(Store(root))}


if __name__ == "__main__":
    print(train_model())
