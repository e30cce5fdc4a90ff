"""The flow `reproduce`: rebuilds a build or retrains a checkpoint from its catalog row, and compares the bytes."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task

from codi2_datasets.compare_builds import Compared, compare_builds
from codi2_datasets.reproduce import ReproduceError, reproduce_build
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_model.checkpoints.lookup import Trained, find
from codi2_model.training.reproduce import compare_checkpoints, has_published_shards, reproduce_training
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.environment import differences, environment
from codi2_storage.catalog.lineage import code_version
from codi2_storage.errors import UsageError
from codi2_storage.host.folders import cache_home
from codi2_storage.store import Store
from codi2_storage.uris import identity

CPUS = os.cpu_count() or 1


@dataclass(frozen=True)
class Reproduced:
    """The result of a reproduction."""

    kind: str
    """`build` or `checkpoint`."""
    id: str
    compared: list[Compared]
    changed: list[str]
    """Differences in code, packages and machine, one string each."""
    out: str
    """Where the new copy was written. Without `out` it is removed at the end."""

    @property
    def identical(self) -> bool:
        return not any(item.different for item in self.compared)


@task(name="reproduced build", **TASK_OPTIONS)
def remake_build(root: str, build_id: str, scratch: str, workers: int) -> str:
    """Rebuild into the scratch root. Returns the id that the build has there."""
    return reproduce_build(Catalog(root), build_id, scratch, workers)


@task(name="reproduced checkpoint", **TASK_OPTIONS)
def remake_checkpoint(root: str, trained: Trained, shards_root: str, folder: str) -> str:
    """Retrain on the shards of `shards_root`. Returns the folder of the new checkpoint."""
    return str(reproduce_training(Catalog(root), trained, Catalog(shards_root), Path(folder)))


@flow(name="reproduce", validate_parameters=False)
def reproduce(target: str, root: str = "./data", out: str | None = None, workers: int = CPUS) -> Reproduced:
    """Reproduce a build (by id) or a checkpoint (by id, folder or 'promoted') in `out`, or in a temporary folder.

    Raises UsageError if the catalog has no such build or checkpoint, ReproduceError if an input of it is unavailable.
    """
    root = Store(root).uri()
    if out is not None and identity(Store(out)) == identity(Store(root)):
        raise UsageError(f"--out {out}: this is the root itself; name another folder")
    original = find(Store(root), target)
    parameters = {"target": target, "root": root, "out": out, "workers": workers}
    with record_run("reproduce", root, parameters) as run, output_folder(out) as folder:
        if isinstance(original, Trained):
            run.update(build_id=original.build_id)
            return compare_reproduced_checkpoint(root, original, folder, workers)
        run.update(build_id=original)
        return compare_reproduced_build(root, original, folder, workers)


def compare_reproduced_build(root: str, build_id: str, out: str, workers: int) -> Reproduced:
    row = Catalog(root).sql("select * from builds where build_id = ?", [build_id], build=build_id).to_pylist()[0]
    new_id = remake_build(root, build_id, out, workers)
    compared = compare_builds(Catalog(root), build_id, Catalog(out), new_id)
    return Reproduced("build", build_id, compared, environment_changes(row), out)


def compare_reproduced_checkpoint(root: str, trained: Trained, out: str, workers: int) -> Reproduced:
    shards_root = root
    if not has_published_shards(Catalog(root), trained.build_id):
        shards_root = Store(out).uri("build")
        rebuild_shards(root, trained.build_id, shards_root, workers)
    local = Store(out).local_path("run")
    with output_folder(local) as folder:
        new_folder = Path(remake_checkpoint(root, trained, shards_root, folder))
        compared = compare_checkpoints(trained, new_folder)
        if local is None:
            Store(out).put_folder(new_folder, "run/final")
    return Reproduced("checkpoint", trained.checkpoint_id, compared, environment_changes(trained.run), out)


def rebuild_shards(root: str, build_id: str, out: str, workers: int) -> None:
    """Rebuild the deleted shards that a run was trained on. Raises ReproduceError if their bytes differ."""
    new_id = remake_build(root, build_id, out, workers)
    with Catalog(root).connect(build_id) as before, Catalog(out).connect(new_id) as now:
        query = "select shard, sha256 from shards order by shard"
        if new_id != build_id or before.execute(query).fetchall() != now.execute(query).fetchall():
            raise ReproduceError(
                f"the shards of build {build_id} were deleted, and rebuilding them gives different bytes: the checkpoint "
                "cannot be reproduced"
            )


def environment_changes(row: dict[str, Any]) -> list[str]:
    """Differences in code, packages and machine between the time of the row and now."""
    code = row["code_version"] or "unknown"
    lines = [] if code == code_version() else [f"code {code} -> {code_version()}"]
    if row["environment"] is None:
        return [*lines, "environment unknown: it was not recorded yet when the row was written"]
    return lines + differences(row["environment"], environment())


@contextmanager
def output_folder(out: str | None) -> Iterator[str]:
    """`out`, which is kept; without it a temporary folder in the cache, which is removed at the end."""
    if out is not None:
        yield Store(out).uri()
        return
    home = cache_home() / "reproduce"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        yield folder
