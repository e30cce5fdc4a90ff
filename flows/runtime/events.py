"""What happened, told to a Prefect server: deployments hang triggers on these names (`prefect.yaml`).

Where no server is configured nobody could hear it, and nothing happens. An event that cannot be told never breaks a run.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL

from codi2_storage.store import Store

BUILD_PUBLISHED = "codi2.build.published"
MODEL_TRAINED = "codi2.model.trained"
MODEL_PROMOTED = "codi2.model.promoted"


def build_published(
    root: str, build_id: str, samples: int, recipe: str | None = None, limit: int | None = None
) -> None:
    """A new dataset version can be read. `recipe` and `limit` are what it was asked for with."""
    told = {"build_id": build_id, "samples": samples, "recipe": recipe, "limit": limit}
    _emit(BUILD_PUBLISHED, f"codi2.build.{build_id}", root, told)


def model_trained(root: str, checkpoint_id: str, uri: str) -> None:
    """A checkpoint is in the catalog that was not there before."""
    _emit(MODEL_TRAINED, f"codi2.model.{checkpoint_id}", root, {"checkpoint_id": checkpoint_id, "uri": uri})


def model_promoted(root: str, checkpoint_id: str, uri: str) -> None:
    """The root's default model is another one now."""
    _emit(MODEL_PROMOTED, f"codi2.model.{checkpoint_id}", root, {"checkpoint_id": checkpoint_id, "uri": uri})


def _emit(event: str, resource: str, root: str, payload: dict[str, object]) -> None:
    """Triggers match on the label codi2.flow: a build inside of `retrain` must not start another `retrain`."""
    if not PREFECT_API_URL.value():
        return
    labels = {
        "prefect.resource.id": resource,
        "prefect.resource.name": resource.rpartition(".")[2],
        "codi2.root": Store(root).uri(),
        "codi2.flow": flow_run.get_flow_name() or "none",
    }
    emit_event(event, labels, payload={"root": Store(root).uri(), **payload})
