"""Lookup of a build or checkpoint by name, for reproduction. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_model.checkpoints.registry import checkpoint_rows, local_copy, promoted, weights_digest
from codi2_storage.catalog.catalog import LATEST, Catalog
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


@dataclass(frozen=True)
class Trained:
    """A recorded checkpoint and its training run."""

    checkpoint: dict[str, Any]
    """Row of the table `checkpoints`."""
    run: dict[str, Any]
    """Row of the table `runs`."""
    variant: bool
    """Whether it is an exported form (bfloat16) of the final checkpoint of the run."""

    @property
    def checkpoint_id(self) -> str:
        """Id of the checkpoint."""
        return str(self.checkpoint["checkpoint_id"])

    @property
    def build_id(self) -> str:
        """Id of the build that it was trained on."""
        return str(self.run["build_id"])


def find_trained(store: Store, name: str) -> Trained:
    """Find a recorded checkpoint by id (or prefix), folder, URI, or 'promoted'. Raises UsageError if there is none."""
    catalog = Catalog(store)
    rows = checkpoint_rows(store, "starts_with(checkpoint_id, ?)", checkpoint_id_of(store, name))
    if not rows:
        raise UsageError(f"{name}: no build or checkpoint of that name in the catalog of {store.uri()}")
    if len({row["checkpoint_id"] for row in rows}) > 1:
        raise UsageError(f"{name}: prefix of several checkpoints: {', '.join(row['checkpoint_id'] for row in rows)}")
    checkpoint = rows[0]
    runs = catalog.sql("select * from runs where run_id = ?", [checkpoint["run_id"]]).to_pylist()
    if not runs:
        raise UsageError(f"{name}: its run {checkpoint['run_id']} is not in the catalog of {store.uri()}")
    with catalog.connect(only=[checkpoint["run_id"]]) as connection:
        own = connection.execute("select checkpoint_id from checkpoints").fetchall()
    return Trained(checkpoint, runs[0], (checkpoint["checkpoint_id"],) not in own)


def checkpoint_id_of(store: Store, name: str) -> str:
    """Id of a checkpoint by folder, URI or 'promoted'; other names are returned as they are."""
    if name == "promoted":
        row = promoted(store)
        if row is None:
            raise UsageError(f"no model has been promoted under {store.uri()}")
        return str(row["checkpoint_id"])
    if (Path(name) / "config.json").is_file() or "://" in name:
        return weights_digest(local_copy(name))[:16]
    if store.exists(f"{name.rstrip('/')}/config.json"):  # a URI relative to the root
        return weights_digest(local_copy(store.uri(name.rstrip("/"))))[:16]
    return name


def find(store: Store, name: str) -> str | Trained:
    """Find a build by id, prefix or 'latest', else a checkpoint. Raises UsageError if there is neither."""
    catalog = Catalog(store)
    latest = catalog.latest_build() if name == LATEST else None
    builds = [latest] if latest else [commit.id for commit in catalog.builds() if name and commit.id.startswith(name)]
    if len(builds) > 1 and name not in builds:
        raise UsageError(f"{name}: prefix of several builds: {', '.join(builds)}")
    if builds:
        return name if name in builds else builds[0]
    return find_trained(store, name)
