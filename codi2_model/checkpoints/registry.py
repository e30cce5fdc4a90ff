"""Checkpoints as the catalog knows them: named by their weights, recorded with their run, promoted to serve."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.training.device import device_summary
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.environment import environment
from codi2_storage.catalog.lineage import code_version
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.coordination.leases import lease
from codi2_storage.host.folders import cache_home
from codi2_storage.locations.uris import located
from codi2_storage.store import Store

SLOT = "default"  # the one place a model is promoted to
PROMOTION = "promotion"  # the lease of who changes what is in place
ROLLED_BACK = "rolled back from"
SHIPPED = Path(__file__).parent.parent / "shipped"  # weights that come with the package, where it was built with them
SHIPPED_NAME = "shipped"  # what they are called wherever a checkpoint is named


class UsageError(ValueError):
    """What was asked for is not there; the message says how to get it."""


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run, as it goes into the catalog."""

    run_id: str
    build_id: str
    config: dict[str, Any]
    step: int
    seconds: float
    seed: int = 0
    workers: int = 1
    start: str | None = None
    """Checkpoint whose weights it began with; None: from scratch."""


@dataclass(frozen=True)
class NamedCheckpoint:
    """A checkpoint on this machine, and what people call it."""

    folder: Path
    name: str


def checkpoint_folder(path: str | Path) -> Path:
    """The folder of a checkpoint; `shipped` names the weights that come with the package. Raises FileNotFoundError where there
    is none."""
    folder = SHIPPED if str(path) == SHIPPED_NAME else Path(path)
    if folder == SHIPPED and not (folder / "config.json").is_file():
        raise FileNotFoundError("no weights come with this package: give a checkpoint")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{path}: no checkpoint there (a folder with config.json is wanted)")
    return folder


def run_folder(store: Store, run_id: str) -> Path:
    """Where a run works: in the root where that is local, else in the cache until it is put into the store."""
    local = store.local_path(f"runs/{run_id}")
    return Path(local) if local else cache_home() / "runs" / run_id


def record(store: Store, run: TrainedRun, checkpoint: Path, metrics: list[dict[str, Any]]) -> str:
    """Put a finished run into the catalog. Returns the checkpoint's id, the start of its weights' hash."""
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
        made = {"checkpoint_id": identity, "run_id": run.run_id, "step": run.step, "uri": uri, "sha256": weights}
        writer.append("checkpoints", [made])
        writer.append("metrics", [{"run_id": run.run_id, "checkpoint_id": identity, **metric} for metric in metrics])
    return identity


def record_variant(store: Store, checkpoint: str, folder: Path, uri: str) -> str:
    """Put another form of a recorded checkpoint (smaller numbers, say) into the catalog under the same run: here it lies in
    `folder`, for everyone at `uri`.

    Returns its id. Raises UsageError where the catalog does not know the checkpoint's weights.
    """
    weights = weights_digest(folder)
    found = Catalog(store).sql(
        "select run_id, step from checkpoints where checkpoint_id = ? order by run_id",
        [weights_digest(checkpoint)[:16]],
    )
    if not found.num_rows:
        raise UsageError(f"{checkpoint}: the catalog of {store.uri()} does not know these weights")
    row = {**found.to_pylist()[0], "checkpoint_id": weights[:16], "uri": uri, "sha256": weights}
    if committed(store, f"variant-{weights[:16]}", "run") is None:
        with Writer(store, f"variant-{weights[:16]}", "run") as writer:
            writer.append("checkpoints", [row])
    return weights[:16]


def finished(store: Store, run_id: str) -> dict[str, Any] | None:
    """The checkpoint of a run that was recorded before, as its row of `checkpoints`; None too where its files are gone."""
    if committed(store, run_id, "run") is None:
        return None
    found = checkpoint_rows(store, "run_id = ?", run_id)
    return next((row for row in found if Store(row["uri"]).exists("config.json")), None)


def checkpoint_rows(store: Store, which: str = "true", *params: object) -> list[dict[str, Any]]:
    """Rows of `checkpoints`, those that the SQL condition names; URIs as they can be opened now."""
    query = f"select * from checkpoints where {which} order by checkpoint_id, run_id, uri"
    return [located(store, row) for row in Catalog(store).sql(query, params).to_pylist()]


def deployments(store: Store, name: str = SLOT) -> list[dict[str, Any]]:
    """What was and is in place under a name, the present first; `until` is when the next took over. URIs as they can be opened
    now."""
    query = "select * from deployments where name = ? order by since desc, checkpoint_id"
    return [located(store, row) for row in Catalog(store).sql(query, [name]).to_pylist()]


def promoted(store: Store) -> dict[str, Any] | None:
    """The deployment in place, as its row of `deployments`."""
    rows = deployments(store)
    return rows[0] if rows else None


def promote(store: Store, checkpoint_id: str, uri: str, reason: str) -> None:
    """Make a checkpoint the root's default. What was there before stays in the table."""
    present = promoted(store)
    since = now() if present is None else later(now(), str(present["since"]))
    deploy(store, SLOT, checkpoint_id, uri, since, reason)


def deploy(store: Store, name: str, checkpoint_id: str | None, uri: str | None, since: str, reason: str) -> None:
    """Add a row to `deployments`: from `since` on this stands under the name; no checkpoint: nothing any more."""
    row = {"name": name, "checkpoint_id": checkpoint_id, "uri": uri, "since": since, "reason": reason}
    stamp = "".join(character for character in since if character.isalnum())
    with Writer(store, f"{name}-{stamp}-{checkpoint_id or 'nothing'}", "deployment") as writer:
        writer.append("deployments", [row])


def later(moment: str, than: str) -> str:
    """The moment, or the one after `than` where the clock was set back: the last row is the one in place."""
    if moment > than:
        return moment
    return (datetime.fromisoformat(than) + timedelta(microseconds=1)).isoformat(timespec="microseconds")


def withdrawn(store: Store, checkpoint_id: str) -> str | None:
    """When somebody rolled back from a checkpoint that was not put in place since; None where nobody did."""
    for row in deployments(store):
        if row["checkpoint_id"] == checkpoint_id:
            return None
        if row["reason"] == f"{ROLLED_BACK} {checkpoint_id}":
            return str(row["since"])
    return None


def roll_back(store: Store, to: str | None = None) -> dict[str, Any]:
    """Promote again what was in place before the present model, or the checkpoint whose id begins with `to`.

    Nothing is taken out of the table. Returns the earlier row of what is in place now. Raises UsageError where there is nothing
    to go back to.
    """
    with lease(store, PROMOTION, about="rollback"):
        rows = deployments(store)
        if not rows:
            raise UsageError(f"no model was ever promoted under {store.uri()}: there is nothing to go back to")
        present, *before = rows
        found = [row for row in before if row["checkpoint_id"] != present["checkpoint_id"]]
        if to is not None:
            found = [row for row in found if row["checkpoint_id"].startswith(to)]
        if not found:
            why = (
                f"{to} was never in place, or is now"
                if to
                else f"{present['checkpoint_id']} is the first model in place"
            )
            raise UsageError(f"{why} under {store.uri()}: nothing to go back to")
        promote(store, found[0]["checkpoint_id"], found[0]["uri"], f"{ROLLED_BACK} {present['checkpoint_id']}")
        return dict(found[0])


def resolve(root: str, checkpoint: str | None) -> Path:
    """The local folder of a checkpoint, as `resolve_named` finds it."""
    return resolve_named(root, checkpoint).folder


def name_of_folder(folder: str | Path) -> str:
    """What a checkpoint is called of which no more is known than its folder."""
    whole = Path(folder).resolve()
    return SHIPPED_NAME if whole == SHIPPED.resolve() else whole.name


def resolve_named(root: str, checkpoint: str | None) -> NamedCheckpoint:
    """A checkpoint: the one named, else the promoted one, else the shipped one.

    It is named by a folder, an id, `shipped`, or a URI: a whole one, or one relative to the root, as the catalog has it. Its
    own name is its id where the catalog found it, else that of its folder.
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
                f"no promoted checkpoint under {root}: run `codi2 retrain demo --root {root}`, or give --checkpoint"
            )
        return NamedCheckpoint(local_copy(str(row["uri"])), str(row["checkpoint_id"]))
    known = checkpoint_rows(store, "starts_with(checkpoint_id, ?)", checkpoint)
    if known:
        return NamedCheckpoint(local_copy(str(known[0]["uri"])), str(known[0]["checkpoint_id"]))
    name = checkpoint.rstrip("/").rpartition("/")[2]
    if store.exists(f"{checkpoint.rstrip('/')}/config.json"):
        return NamedCheckpoint(local_copy(store.uri(checkpoint.rstrip("/"))), name)
    if "://" in checkpoint:
        return NamedCheckpoint(local_copy(checkpoint), name)
    raise UsageError(f"{checkpoint}: no checkpoint there (a folder with config.json is wanted), and no id in {root}")


def local_copy(uri: str) -> Path:
    """A folder on this machine with what is at the URI; downloaded once, and again where other files lie there now.

    Raises FileNotFoundError where nothing lies there.
    """
    store = Store(uri)
    local = store.local_path("")
    if local:
        return Path(local.rstrip("/"))
    files = store.files()
    if not files:
        raise FileNotFoundError(f"{uri}: no checkpoint there")
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
                if not target.exists():  # else another process was faster
                    raise
    return target


def load_model(folder: str | Path) -> tuple[Any, Any]:
    """(model, processor) of a checkpoint, ready to answer, on the GPU where there is one."""
    import torch

    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    model = CoDi2ForConditionalGeneration.from_pretrained(folder).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), CoDi2Processor.from_pretrained(folder)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def stamp() -> dict[str, str]:
    """When a run was recorded, and with what code and on what machine: columns of `runs`."""
    return {"created_at": now(), "code_version": code_version(), "environment": environment()}
