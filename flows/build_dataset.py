"""The flow `build-dataset`: recipe in, published dataset version out.

Tasks pass URIs, never payloads. The work is in `codi2_datasets.build`.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import json

from prefect import flow, task

from codi2_datasets import build as library
from codi2_datasets.runtime.ray_executor import cluster_when_needed
from codi2_flows.runtime import artifacts
from codi2_flows.runtime.events import build_published
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_storage.store import Store


@task(name="ingests", **TASK_OPTIONS)
def ingests(settings: library.Settings) -> str:
    """Ingest the corpora. Returns the path of a JSON list of the commits that hold them."""
    prepared = library.prepare(settings)
    path = f"builds/{prepared.build_id}/ingests.json"
    prepared.store.write_bytes(path, json.dumps(library.ingest(prepared)).encode())
    return path


@task(name="dataset version", **TASK_OPTIONS)
def dataset_version(settings: library.Settings, ingests_path: str) -> library.Built:
    """Select, plan, write and publish."""
    commits = json.loads(Store(settings.root).read_bytes(ingests_path))
    return library.assemble(library.prepare(settings), commits)


@flow(name="build-dataset", validate_parameters=False)
def build_dataset(
    recipe: str = "demo", root: str = "./data", workers: int = 2, limit: int | None = None, refresh: bool = False
) -> str:
    """Build a dataset version, unless it is published already. Returns the build id.

    `refresh`: look for newer package versions of the corpora first, as scheduled builds do.
    """
    parameters = {"recipe": recipe, "root": Store(root).uri(), "workers": workers, "limit": limit}
    parameters |= {"refresh": True} if refresh else {}
    with record_run("build-dataset", root, parameters) as run:
        if refresh:
            library.refresh(recipe)
        version = build_version(recipe, root, workers, limit)
        run.update(build_id=version.build_id)
        if version.fresh:
            artifacts.build_artifacts(root, version.build_id)
    return version.build_id


def build_version(recipe: str, root: str, workers: int, limit: int | None) -> library.Built:
    """Build a dataset version, also for flows that continue with it.

    If several processes start the same build, one does the work. The others wait and return the published version.
    """
    settings = library.Settings(recipe, Store(root).uri(), workers, limit)
    prepared = library.prepare(settings)
    library.say_missing(prepared)
    with library.build_lease(prepared):
        if prepared.published:
            version = library.existing_build(prepared)
        else:
            with cluster_when_needed(workers):
                version = dataset_version(settings, ingests(settings))
    library.say_changes(version, settings.root)
    if version.fresh:
        build_published(settings.root, version.build_id, version.samples, recipe, limit)
    return version


if __name__ == "__main__":
    print(build_dataset())
