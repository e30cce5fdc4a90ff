"""Flow: a recipe -> a published dataset version. Tasks hand over URIs; the work is in `codi2_datasets.build`."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)
import json

from prefect import flow, task

from codi2_datasets import build as library
from codi2_datasets.engine import cluster_when_needed
from codi2_storage.store import Store


@task(name="ingests")
def ingests(settings: library.Settings) -> str:
    """Bring the corpora into the store. Returns the path of the list of commits that hold them."""
    prepared = library.prepare(settings)
    path = f"builds/{prepared.build_id}/ingests.json"
    prepared.store.write_bytes(path, json.dumps(library.ingest(prepared)).encode())
    return path


@task(name="dataset version")
def dataset_version(settings: library.Settings, ingests_path: str) -> int:
    """Select, plan, write and publish. Returns the number of samples."""
    listed = json.loads(Store(settings.root).read_bytes(ingests_path))
    return library.assemble(library.prepare(settings), listed)


@flow(name="build-dataset", validate_parameters=False)
def build_dataset(recipe: str = "demo", root: str = "./data", workers: int = 2, limit: int | None = None) -> str:
    """Build a dataset version; a version that is published already is left as it is. Returns the build id."""
    return built(recipe, root, workers, limit).build_id


def built(recipe: str, root: str, workers: int, limit: int | None) -> library.Built:
    """The body of the flow, for flows that go on with what was built."""
    settings = library.Settings(recipe, Store(root).uri(), workers, limit)
    prepared = library.prepare(settings)
    library.say_missing(prepared)
    if prepared.published:
        library.describe_build(prepared.store, prepared.build_id)
        return library.Built(prepared.build_id, library.samples_of(prepared), False, prepared.missing)
    with cluster_when_needed(workers):
        samples = dataset_version(settings, ingests(settings))
    return library.Built(prepared.build_id, samples, True, prepared.missing)


if __name__ == "__main__":
    print(build_dataset())
