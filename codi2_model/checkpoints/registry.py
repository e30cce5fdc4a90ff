"""Checkpoint registry in the catalog: recording runs and checkpoints, promotion, rollback, resolving names."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.device import device_summary
from codi2_model.checkpoints.hashing import weights_digest
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.environment import environment
from codi2_storage.catalog.lineage import code_version
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.coordination.leases import lease
from codi2_storage.errors import UsageError
from codi2_storage.host.folders import cache_home
from codi2_storage.store import Store
from codi2_storage.uris import located

SLOT = "default"  # name of the deployment that promotion changes
PROMOTION = "promotion"  # lease for changes of the promoted model
ROLLED_BACK = "rolled back from"
SHIPPED = Path(__file__).parent.parent / "shipped"  # weights in the package, if it was built with them
SHIPPED_NAME = "shipped"  # their name as a checkpoint


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run, to be recorded in the catalog."""

    run_id: str
    build_id: str
    config: dict[str, Any]
    step: int
    seconds: float
    seed: int = 0
    workers: int = 1
    start: str | None = None
    """Id of the checkpoint that it started from; None: from scratch."""


@dataclass(frozen=True)
class NamedCheckpoint:
    """A local checkpoint folder and its name."""

    folder: Path
    name: str


def checkpoint_folder(path: str | Path) -> Path:
    """Folder of a checkpoint; `shipped` is the name of the weights in the package. Raises FileNotFoundError if missing."""
    folder = SHIPPED if str(path) == SHIPPED_NAME else Path(path)
    if folder == SHIPPED and not (folder / "config.json").is_file():
        raise FileNotFoundError("this package has no shipped weights; name a checkpoint")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{path}: not a checkpoint folder, config.json is missing")
    return folder


def run_folder(store: Store, run_id: str) -> Path:
    """Working folder of a run: in a local root, or for remote roots in the cache until it is uploaded."""
    local = store.local_path(f"runs/{run_id}")
    return Path(local) if local else cache_home() / "runs" / run_id


def record(store: Store, run: TrainedRun, checkpoint: Path, metrics: list[dict[str, Any]]) -> str:
    """Record a finished run in the catalog. Returns the id of the checkpoint, a prefix of the hash of its weights."""
    weights = weights_digest(checkpoint)
    identity = weights[:16]
    name = f"runs/{run.run_id}"
    folder = run_folder(store, run.run_id)
    if store.local_path(name) is None:
        store.put_folder(folder, name)
    uri = store.uri(f"{name}/{checkpoint.resolve().relative_to(folder.resolve())}")
    row: dict[str, Any] = {
        "run_id": run.run_id,
        "kind": "train",
        "build_id": run.build_id,
        "status": "finished",
        "uri": store.uri(name),
    }
    row |= {"config": json.dumps(run.config, sort_keys=True), "code_version": code_version(), "seconds": run.seconds}
    row |= {"seed": run.seed, "workers": run.workers, "start": run.start, "environment": environment()}
    device, threads = device_summary(folder)
    row |= {"device": device, "threads": threads, "created_at": now()}
    with Writer(store, run.run_id, "run") as writer:
        writer.append("runs", [row])
        checkpoint_row = {
            "checkpoint_id": identity,
            "run_id": run.run_id,
            "step": run.step,
            "uri": uri,
            "sha256": weights,
        }
        writer.append("checkpoints", [checkpoint_row])
        writer.append("metrics", [{"run_id": run.run_id, "checkpoint_id": identity, **metric} for metric in metrics])
    return identity


def record_variant(store: Store, checkpoint: str, folder: Path, uri: str) -> str:
    """Record another form of a recorded checkpoint (such as an export in bfloat16) under the same run.

    folder: its local copy; uri: its recorded location. Returns its id. Raises UsageError if the checkpoint is not recorded.
    """
    weights = weights_digest(folder)
    rows = Catalog(store).sql(
        "select run_id, step from checkpoints where checkpoint_id = ? order by run_id",
        [weights_digest(checkpoint)[:16]],
    )
    if not rows.num_rows:
        raise UsageError(f"{checkpoint}: these weights are not recorded in the catalog of {store.uri()}")
    row = {**rows.to_pylist()[0], "checkpoint_id": weights[:16], "uri": uri, "sha256": weights}
    if committed(store, f"variant-{weights[:16]}", "run") is None:
        with Writer(store, f"variant-{weights[:16]}", "run") as writer:
            writer.append("checkpoints", [row])
    return weights[:16]


def finished(store: Store, run_id: str) -> dict[str, Any] | None:
    """Row of `checkpoints` of a finished run; None if it is not recorded or its files are gone."""
    if committed(store, run_id, "run") is None:
        return None
    rows = checkpoint_rows(store, "run_id = ?", run_id)
    return next((row for row in rows if Store(row["uri"]).exists("config.json")), None)


def checkpoint_rows(store: Store, condition: str = "true", *params: object) -> list[dict[str, Any]]:
    """Rows of `checkpoints` that meet an SQL condition, with absolute URIs."""
    query = f"select * from checkpoints where {condition} order by checkpoint_id, run_id, uri"
    return [located(store, row) for row in Catalog(store).sql(query, params).to_pylist()]


def deployments(store: Store, name: str = SLOT) -> list[dict[str, Any]]:
    """Rows of `deployments` under a name, the current one first, with absolute URIs."""
    query = "select * from deployments where name = ? order by since desc, checkpoint_id"
    return [located(store, row) for row in Catalog(store).sql(query, [name]).to_pylist()]


def promoted(store: Store) -> dict[str, Any] | None:
    """Row of `deployments` of the promoted model; None if no model is promoted."""
    rows = deployments(store)
    return rows[0] if rows else None


def promote(store: Store, checkpoint_id: str, uri: str, reason: str) -> None:
    """Promote a checkpoint: make it the default model of the root. Earlier rows stay in the table."""
    current = promoted(store)
    since = now() if current is None else later(now(), str(current["since"]))
    deploy(store, SLOT, checkpoint_id, uri, since, reason)


def deploy(store: Store, name: str, checkpoint_id: str | None, uri: str | None, since: str, reason: str) -> None:
    """Add a row to `deployments`: the checkpoint served under a name from `since` on; None: no longer any."""
    row = {"name": name, "checkpoint_id": checkpoint_id, "uri": uri, "since": since, "reason": reason}
    stamp = "".join(character for character in since if character.isalnum())
    with Writer(store, f"{name}-{stamp}-{checkpoint_id or 'nothing'}", "deployment") as writer:
        writer.append("deployments", [row])


def later(moment: str, than: str) -> str:
    """`moment`, or one microsecond after `than` if that is later (after a clock was set back), so that rows stay in order."""
    if moment > than:
        return moment
    return (datetime.fromisoformat(than) + timedelta(microseconds=1)).isoformat(timespec="microseconds")


def withdrawn(store: Store, checkpoint_id: str) -> str | None:
    """Time of the rollback from a checkpoint that has not been promoted since; None if there was none."""
    for row in deployments(store):
        if row["checkpoint_id"] == checkpoint_id:
            return None
        if row["reason"] == f"{ROLLED_BACK} {checkpoint_id}":
            return str(row["since"])
    return None


def roll_back(store: Store, to: str | None = None) -> dict[str, Any]:
    """Promote the model before the current one again, or the earlier one whose id begins with `to`.

    Adds a row to `deployments`. Returns the earlier row of the model. Raises UsageError if there is no such model.
    """
    with lease(store, PROMOTION, about="rollback"):
        rows = deployments(store)
        if not rows:
            raise UsageError(f"cannot roll back: no model has been promoted under {store.uri()}")
        current, *earlier = rows
        candidates = [row for row in earlier if row["checkpoint_id"] != current["checkpoint_id"]]
        if to is not None:
            candidates = [row for row in candidates if row["checkpoint_id"].startswith(to)]
        if not candidates:
            reason = (
                f"{to} was not promoted before, or is the promoted model"
                if to
                else f"{current['checkpoint_id']} is the first promoted model"
            )
            raise UsageError(f"cannot roll back under {store.uri()}: {reason}")
        target = candidates[0]
        promote(store, target["checkpoint_id"], target["uri"], f"{ROLLED_BACK} {current['checkpoint_id']}")
        return dict(target)


def resolve(root: str, checkpoint: str | None) -> Path:
    """Local folder of a checkpoint; names as in `resolve_named`."""
    return resolve_named(root, checkpoint).folder


def name_of_folder(folder: str | Path) -> str:
    """Name of a checkpoint by its folder."""
    path = Path(folder).resolve()
    return SHIPPED_NAME if path == SHIPPED.resolve() else path.name


def resolve_named(root: str, checkpoint: str | None) -> NamedCheckpoint:
    """Resolve a checkpoint by name. None: the promoted one, or else the shipped one.

    A name is a folder, an id (or prefix), `shipped`, or a URI, absolute or relative to the root. The result is named by its
    id if it was found in the catalog, else by its folder. Raises UsageError if there is none.
    """
    if checkpoint == SHIPPED_NAME:
        return NamedCheckpoint(checkpoint_folder(checkpoint), SHIPPED_NAME)
    if checkpoint is not None and (Path(checkpoint) / "config.json").is_file():
        return NamedCheckpoint(Path(checkpoint), name_of_folder(checkpoint))
    store = Store(root)
    if checkpoint is None:
        row = promoted(store)
        if row is None and (SHIPPED / "config.json").is_file():
            return NamedCheckpoint(SHIPPED, SHIPPED_NAME)
        if row is None:
            raise UsageError(
                f"no promoted model under {root}: run `codi2 retrain demo --root {root}`, or set --checkpoint"
            )
        return NamedCheckpoint(local_copy(str(row["uri"])), str(row["checkpoint_id"]))
    rows = checkpoint_rows(store, "starts_with(checkpoint_id, ?)", checkpoint)
    if rows:
        return NamedCheckpoint(local_copy(str(rows[0]["uri"])), str(rows[0]["checkpoint_id"]))
    name = checkpoint.rstrip("/").rpartition("/")[2]
    if store.exists(f"{checkpoint.rstrip('/')}/config.json"):
        return NamedCheckpoint(local_copy(store.uri(checkpoint.rstrip("/"))), name)
    if "://" in checkpoint:
        return NamedCheckpoint(local_copy(checkpoint), name)
    raise UsageError(
        f"{checkpoint}: neither a checkpoint folder with config.json, nor the id of a checkpoint in {root}"
    )


def local_copy(uri: str) -> Path:
    """Local folder with the files at a URI; remote files are downloaded once, and again if they change.

    Raises FileNotFoundError if there are no files.
    """
    store = Store(uri)
    local = store.local_path("")
    if local:
        return Path(local.rstrip("/"))
    files = store.files()
    if not files:
        raise FileNotFoundError(f"{uri}: no files at this location")
    target = cache_home() / "checkpoints" / digest([store.uri(), [asdict(file) for file in files]])[:16]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
            part = Path(folder) / "whole"
            for file in files:
                (part / file.name).parent.mkdir(parents=True, exist_ok=True)
                (part / file.name).write_bytes(store.read_bytes(file.name))
            try:
                part.replace(target)
            except OSError:
                if not target.exists():  # otherwise another process has created it
                    raise
    return target


def load_model(folder: str | Path) -> tuple[Any, Any]:
    """Load (model, processor) of a checkpoint in eval mode, on the GPU if there is one."""
    import torch

    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    model = CoDi2ForConditionalGeneration.from_pretrained(folder).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), CoDi2Processor.from_pretrained(folder)


def now() -> str:
    """The current time in UTC, in ISO format with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def stamp() -> dict[str, str]:
    """Columns of `runs`: time of recording, code version, environment."""
    return {"created_at": now(), "code_version": code_version(), "environment": environment()}
