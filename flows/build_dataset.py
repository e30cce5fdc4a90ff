"""Flow: a recipe -> a published dataset version. Tasks hand over URIs; the work is in `codi2_datasets.build`."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import json

from prefect import flow, task

from codi2_datasets import build as library
from codi2_datasets.runtime.ray_executor import cluster_when_needed
from codi2_flows.runtime import artifacts
from codi2_flows.runtime.events import build_published
from codi2_flows.runtime.record_run import recorded
from codi2_flows.runtime.tasks import LASTING
from codi2_storage.store import Store


@task(name="ingests", **LASTING)
def ingests(settings: library.Settings) -> str:
    """Bring the corpora into the store. Returns the path of the list of commits that hold them."""
    prepared = library.prepare(settings)
    path = f"builds/{prepared.build_id}/ingests.json"
    prepared.store.write_bytes(path, json.dumps(library.ingest(prepared)).encode())
    return path


@task(name="dataset version", **LASTING)
def dataset_version(settings: library.Settings, ingests_path: str) -> library.Built:
    """Select, plan, write and publish."""
    listed = json.loads(Store(settings.root).read_bytes(ingests_path))
    return library.assemble(library.prepare(settings), listed)


@flow(name="build-dataset", validate_parameters=False)
def build_dataset(
    recipe: str = "demo", root: str = "./data", workers: int = 2, limit: int | None = None, refresh: bool = False
) -> str:
    """Build a dataset version; a version that is published already is left as it is. Returns the build id.

    `refresh` asks the registries for newer versions of packages first: what a schedule wants.
    """
    about = {"recipe": recipe, "root": Store(root).uri(), "workers": workers, "limit": limit}
    about |= {"refresh": True} if refresh else {}
    with recorded("build-dataset", root, about) as run:
        if refresh:
            library.refresh(recipe)
        version = built(recipe, root, workers, limit)
        run.note(build_id=version.build_id)
        if version.fresh:
            artifacts.of_build(root, version.build_id)
    return version.build_id


def built(recipe: str, root: str, workers: int, limit: int | None) -> library.Built:
    """The body of the flow, for flows that go on with what was built. Of several at once that make the same build, one does;
    the others wait, and find it published."""
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
