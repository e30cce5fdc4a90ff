"""What there is to make again: a build or a checkpoint by the name that a person gives. Knows no torch, so it is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_model.checkpoints.registry import UsageError, checkpoint_rows, local_copy, promoted, weights_digest
from codi2_storage.catalog.catalog import LATEST, Catalog
from codi2_storage.store import Store


@dataclass(frozen=True)
class Trained:
    """A recorded checkpoint and its run."""

    checkpoint: dict[str, Any]
    """Its row of `checkpoints`."""
    run: dict[str, Any]
    """Its run's row of `runs`."""
    variant: bool
    """It is another form of what the run ended with: smaller numbers, in smaller files."""

    @property
    def checkpoint_id(self) -> str:
        return str(self.checkpoint["checkpoint_id"])

    @property
    def build_id(self) -> str:
        return str(self.run["build_id"])


def find_trained(store: Store, name: str) -> Trained:
    """A checkpoint by id (or its beginning), folder, URI, or as 'promoted'. Raises UsageError where the catalog knows none."""
    catalog = Catalog(store)
    found = checkpoint_rows(store, "starts_with(checkpoint_id, ?)", checkpoint_id_of(store, name))
    if not found:
        raise UsageError(f"{name}: the catalog of {store.uri()} knows no build and no checkpoint of that name")
    if len({row["checkpoint_id"] for row in found}) > 1:
        raise UsageError(f"{name}: several checkpoints begin so: {', '.join(row['checkpoint_id'] for row in found)}")
    checkpoint = found[0]
    runs = catalog.sql("select * from runs where run_id = ?", [checkpoint["run_id"]]).to_pylist()
    if not runs:
        raise UsageError(f"{name}: its run {checkpoint['run_id']} is not in the catalog of {store.uri()}")
    with catalog.connect(only=[checkpoint["run_id"]]) as connection:
        own = connection.execute("select checkpoint_id from checkpoints").fetchall()
    return Trained(checkpoint, runs[0], (checkpoint["checkpoint_id"],) not in own)


def checkpoint_id_of(store: Store, name: str) -> str:
    if name == "promoted":
        row = promoted(store)
        if row is None:
            raise UsageError(f"no model was ever promoted under {store.uri()}")
        return str(row["checkpoint_id"])
    if (Path(name) / "config.json").is_file() or "://" in name:
        return weights_digest(local_copy(name))[:16]
    if store.exists(f"{name.rstrip('/')}/config.json"):  # a URI as the catalog has it
        return weights_digest(local_copy(store.uri(name.rstrip("/"))))[:16]
    return name


def find(store: Store, name: str) -> str | Trained:
    """The build whose id begins so, or 'latest'; else the checkpoint. Raises UsageError where there is neither."""
    catalog = Catalog(store)
    latest = catalog.latest_build() if name == LATEST else None
    found = [latest] if latest else [commit.id for commit in catalog.builds() if name and commit.id.startswith(name)]
    if len(found) > 1 and name not in found:
        raise UsageError(f"{name}: several builds begin so: {', '.join(found)}")
    if found:
        return name if name in found else found[0]
    return find_trained(store, name)
