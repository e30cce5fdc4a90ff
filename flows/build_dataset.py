"""The flow `build-dataset`: recipe in, published dataset version out.

Tasks pass URIs, never payloads. The work is in `codi2_datasets.build`.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import json
from collections.abc import Sequence
from typing import Any

from prefect import flow, task
from prefect.utilities.annotations import opaque

from codi2_datasets import build as library
from codi2_datasets.runtime.ray_executor import cluster_when_needed
from codi2_flows.runtime import artifacts
from codi2_flows.runtime.events import build_published
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_storage.store import Store


@task(name="ingests", **TASK_OPTIONS)
def ingests(spec: library.BuildSpec) -> str:
    """Ingest the corpora. Returns the path of a JSON list of the commits that hold them."""
    path = f"builds/{spec.build_id}/ingests.json"
    spec.store.write_bytes(path, json.dumps(library.ingest(spec)).encode())
    return path


@task(name="dataset version", **TASK_OPTIONS)
def dataset_version(spec: library.BuildSpec, ingests_path: str) -> library.Built:
    """Select, plan, write and publish."""
    return library.assemble(spec, json.loads(spec.store.read_bytes(ingests_path)))


@flow(name="build-dataset", validate_parameters=False)
def build_dataset(
    recipe: str = "demo",
    root: str = "./data",
    workers: int = 2,
    limit: int | None = None,
    refresh: bool = False,
    settings: Sequence[str] = (),
) -> str:
    """Build a dataset version, unless it is published already. Returns the build id.

    `refresh`: look for newer package versions of the corpora first, as scheduled builds do. `settings`: override those of
    the recipe.
    """
    parameters: dict[str, Any] = {"recipe": recipe, "root": Store(root).uri(), "workers": workers, "limit": limit}
    parameters |= {"refresh": True} if refresh else {}
    parameters |= {"settings": list(settings)} if settings else {}
    options = library.Settings(recipe, Store(root).uri(), workers, limit, tuple(settings))
    with record_run("build-dataset", root, parameters) as run:
        if refresh:
            library.refresh(options)
        version = build_version(options)
        run.update(build_id=version.build_id)
        if version.fresh:
            artifacts.build_artifacts(root, version.build_id)
    return version.build_id


def build_version(settings: library.Settings) -> library.Built:
    """Build a dataset version, also for flows that continue with it.

    If several processes start the same build, one does the work. The others wait and return the published version.
    """
    spec = library.prepare(settings)
    library.say_missing(spec)
    with library.build_lease(spec):
        if spec.published:
            version = library.existing_build(spec)
        else:
            with cluster_when_needed(settings.workers):
                whole: Any = opaque(spec)  # Prefect does not walk through its thousands of input splits
                version = dataset_version(whole, ingests(whole))
    library.say_changes(version, settings.root)
    if version.fresh and not settings.overrides:  # a retraining that the event starts would build the recipe as it is
        build_published(settings.root, version.build_id, version.samples, settings.recipe, settings.limit)
    return version


if __name__ == "__main__":
    print(build_dataset())
