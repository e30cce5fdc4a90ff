"""Prefect events of builds and models. Deployments are triggered by their names (`prefect.yaml`).

Without a configured server no event is sent. An event that cannot be sent never breaks a run.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect.events import emit_event
from prefect.runtime import flow_run

from codi2_flows.runtime.temporary_server import server_configured
from codi2_storage.store import Store

BUILD_PUBLISHED = "codi2.build.published"
MODEL_TRAINED = "codi2.model.trained"
MODEL_PROMOTED = "codi2.model.promoted"


def build_published(
    root: str, build_id: str, samples: int, recipe: str | None = None, limit: int | None = None
) -> None:
    """Emit that a new dataset version is published. `recipe` and `limit`: the parameters of the build."""
    payload = {"build_id": build_id, "samples": samples, "recipe": recipe, "limit": limit}
    _emit(BUILD_PUBLISHED, f"codi2.build.{build_id}", root, payload)


def model_trained(root: str, checkpoint_id: str, uri: str) -> None:
    """Emit that the catalog has a new checkpoint."""
    _emit(MODEL_TRAINED, f"codi2.model.{checkpoint_id}", root, {"checkpoint_id": checkpoint_id, "uri": uri})


def model_promoted(root: str, checkpoint_id: str, uri: str) -> None:
    """Emit that another model is promoted, or was rolled back to."""
    _emit(MODEL_PROMOTED, f"codi2.model.{checkpoint_id}", root, {"checkpoint_id": checkpoint_id, "uri": uri})


def _emit(event: str, resource: str, root: str, payload: dict[str, object]) -> None:
    """Emit an event, labelled with the flow: a build within `retrain` must not trigger another `retrain`."""
    if not server_configured():
        return
    labels = {
        "prefect.resource.id": resource,
        "prefect.resource.name": resource.rpartition(".")[2],
        "codi2.root": Store(root).uri(),
        "codi2.flow": flow_run.get_flow_name() or "none",
    }
    emit_event(event, labels, payload={"root": Store(root).uri(), **payload})
