"""Flow: a build or a checkpoint made again from what the catalog says of it, and compared with the original byte by byte."""

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
from codi2_flows.runtime.record_run import recorded
from codi2_flows.runtime.tasks import LASTING
from codi2_model.checkpoints.lookup import Trained, find
from codi2_model.checkpoints.registry import UsageError
from codi2_model.checkpoints.reproduce import compare_checkpoints, has_published_shards, reproduce_training
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.environment import differences, environment
from codi2_storage.catalog.lineage import code_version
from codi2_storage.host.folders import cache_home
from codi2_storage.locations.uris import identity
from codi2_storage.store import Store

CPUS = os.cpu_count() or 1


@dataclass(frozen=True)
class Reproduced:
    """What came of it."""

    kind: str
    """build or checkpoint."""
    id: str
    compared: list[Compared]
    changed: list[str]
    """What differs in code, packages and machine, a line each."""
    out: str
    """Where the new one lies; it is gone by now where no place was named."""

    @property
    def identical(self) -> bool:
        return not any(line.different for line in self.compared)


@task(name="build made again", **LASTING)
def build_again(root: str, build_id: str, scratch: str, workers: int) -> str:
    """Returns the id that the build has in the scratch root."""
    return reproduce_build(Catalog(root), build_id, scratch, workers)


@task(name="checkpoint made again", **LASTING)
def checkpoint_again(root: str, trained: Trained, shards_root: str, folder: str) -> str:
    """Returns the folder of the new checkpoint."""
    return str(reproduce_training(Catalog(root), trained, Catalog(shards_root), Path(folder)))


@flow(name="reproduce", validate_parameters=False)
def reproduce(target: str, root: str = "./data", out: str | None = None, workers: int = CPUS) -> Reproduced:
    """Make a build or a checkpoint (by id; a checkpoint also by folder, or 'promoted') again, under `out` or for the moment.

    Raises UsageError where the catalog knows no such thing, ReproduceError where what it was made from is not to be had.
    """
    root = Store(root).uri()
    if out is not None and identity(Store(out)) == identity(Store(root)):
        raise UsageError(f"--out {out} is the root itself: name another place")
    found = find(Store(root), target)
    parameters = {"target": target, "root": root, "out": out, "workers": workers}
    with recorded("reproduce", root, parameters) as run, scratch(out) as place:
        if isinstance(found, Trained):
            run.note(build_id=found.build_id)
            return of_checkpoint(root, found, place, workers)
        run.note(build_id=found)
        return of_build(root, found, place, workers)


def of_build(root: str, build_id: str, place: str, workers: int) -> Reproduced:
    row = Catalog(root).sql("select * from builds where build_id = ?", [build_id], build=build_id).to_pylist()[0]
    again = build_again(root, build_id, place, workers)
    compared = compare_builds(Catalog(root), build_id, Catalog(place), again)
    return Reproduced("build", build_id, compared, changed(row), place)


def of_checkpoint(root: str, trained: Trained, place: str, workers: int) -> Reproduced:
    shards_root = root
    if not has_published_shards(Catalog(root), trained.build_id):
        shards_root = Store(place).uri("build")
        rebuild(root, trained.build_id, shards_root, workers)
    local = Store(place).local_path("run")
    with scratch(local) as folder:
        made = Path(checkpoint_again(root, trained, shards_root, folder))
        compared = compare_checkpoints(trained, made)
        if local is None:
            Store(place).put_folder(made, "run/final")
    return Reproduced("checkpoint", trained.checkpoint_id, compared, changed(trained.run), place)


def rebuild(root: str, build_id: str, place: str, workers: int) -> None:
    """Make the shards that a run was trained on again, where they are gone. Raises ReproduceError where they are others."""
    again = build_again(root, build_id, place, workers)
    with Catalog(root).connect(build_id) as then, Catalog(place).connect(again) as now:
        query = "select shard, sha256 from shards order by shard"
        if again != build_id or then.execute(query).fetchall() != now.execute(query).fetchall():
            raise ReproduceError(f"the shards of build {build_id} are gone, and come out different when made again")


def changed(row: dict[str, Any]) -> list[str]:
    """What differs between now and when the row was written."""
    code = row["code_version"] or "unknown"
    lines = [] if code == code_version() else [f"code {code} -> {code_version()}"]
    if row["environment"] is None:
        return [*lines, "environment unknown: the row is older than that column"]
    return lines + differences(row["environment"], environment())


@contextmanager
def scratch(out: str | None) -> Iterator[str]:
    """The place that was asked for, which stays; else a folder beside the cache, for the moment."""
    if out is not None:
        yield Store(out).uri()
        return
    home = cache_home() / "reproduce"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        yield folder
