"""Runs of flows as the catalog keeps them, and the truth about those that it calls running.

A run holds the lease `run-<its id>` as long as it lives. A row that says running, whose lease nobody holds any more, is told
as crashed: the process was killed, and could not say so itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from codi2_storage.catalog.parameters import without_place
from codi2_storage.commits.commit import Commit
from codi2_storage.commits.manifests import Writer, commits, committed
from codi2_storage.coordination import leases
from codi2_storage.locations.uris import relative
from codi2_storage.store import Store

RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED = "running", "completed", "failed", "cancelled", "crashed"
PREFIX = "run-"  # of a run's lease
SILENT = 2 * leases.TTL  # seconds without a beat until a run on another machine is told as crashed


@dataclass(frozen=True)
class Run:
    """A row of `runs`, of the kinds that are flows. Times are UTC in ISO format; `config`: the flow's parameters as JSON, in
    which paths inside the root begin with {root}."""

    run_id: str
    kind: str
    """The flow's name: build-dataset, train-model, ..."""
    config: str
    status: str
    created_at: str
    reason: str | None = None
    ended_at: str | None = None
    seconds: float | None = None
    attempt: int = 1
    """2 and more: so many runs of the same flow and parameters crashed one after the other before."""
    parent: str | None = None
    """The run that this one is a part of."""
    flow_run: str | None = None
    """The id of Prefect's own record of it."""
    build_id: str | None = None
    seed: int | None = None
    workers: int | None = None
    uri: str | None = None
    environment: str | None = None
    code_version: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """As they are kept; `codi2_storage.catalog.parameters.present` has them as the flow takes them."""
        return dict(json.loads(self.config))

    @property
    def over(self) -> bool:
        return self.status != RUNNING


NAMES = frozenset(field.name for field in fields(Run))


def put(store: Store, run: Run) -> None:
    """Write a run's row; it replaces what the catalog said of the run before."""
    row = asdict(run)
    if run.uri:
        row["uri"] = relative(store, run.uri)
    with Writer(store, run.run_id, "run", info={"flow": run.kind, **row}) as writer:
        writer.append("runs", [row])


def get(store: Store, run_id: str) -> Run | None:
    """A run as its row has it: one that died may still be called running. None where there is none."""
    found = committed(store, run_id, "run")
    return run_of(found) if found else None


def run_of(commit: Commit) -> Run | None:
    """The run that a commit of kind `run` tells of; None where it is no flow's (a training, an evaluation, ...)."""
    if "flow" not in commit.info:
        return None
    run = Run(**{name: value for name, value in commit.info.items() if name in NAMES})
    return replace(run, config=without_place(run.config))


def told_runs(store: Store) -> list[Run]:
    """All runs of flows, the last first, each with the status that is true now."""
    found = [run for commit in commits(store, "run") if (run := run_of(commit))]
    return [truth(store, run) for run in sorted(found, key=lambda run: (run.created_at, run.run_id), reverse=True)]


def truth(store: Store, run: Run) -> Run:
    """The run, or the same told as crashed, with the reason, where it is called running and does not live."""
    if run.status != RUNNING or (why := dead(store, run.run_id)) is None:
        return run
    now = get(store, run.run_id)  # it may have ended in good order since its row was read
    return now if now and now.over else replace(run, status=CRASHED, reason=why)


def dead(store: Store, run_id: str) -> str | None:
    """Why a run that is called running does not live; None where it may well."""
    name = PREFIX + run_id
    number = leases.highest(store, name)
    holder = leases.read(store, name, number) if number else None
    if number == 0 or (holder and holder.released):
        return "ended without a word of how"
    if holder and holder.process.gone:
        return f"its process (pid {holder.process.pid}) was killed or died"
    if holder and holder.alive(store):
        return None
    age = heartbeat_age(store, run_id)
    return None if age is None or age < SILENT else f"no sign of life for {age:.0f} s from another machine"


def heartbeat_age(store: Store, run_id: str) -> float | None:
    """Seconds since the last beat, by the store's clock and ours; to be told, not to be acted on. None where there is none."""
    name = PREFIX + run_id
    number = leases.highest(store, name)
    if not number:
        return None
    try:
        beat = store.fs.modified(store.path(leases.file_of(name, number)))
    except (FileNotFoundError, NotImplementedError):
        return None
    aware = beat if beat.tzinfo else beat.replace(tzinfo=UTC)
    return max(0.0, (datetime.now(UTC) - aware).total_seconds())


def unfinished(store: Store, flow: str) -> Iterator[Run]:
    """Runs of a flow that are called running, by their leases: no more than a few, however many runs there were."""
    base = store.path(leases.FOLDER)
    try:
        found = store.fs.ls(base, detail=False)
    except FileNotFoundError:
        return
    start = f"{PREFIX}{flow}-"
    for name in sorted(str(path).rstrip("/").rpartition("/")[2] for path in found):
        if name.startswith(start) and (run := get(store, name.removeprefix(PREFIX))) and run.status == RUNNING:
            yield run


def bury(store: Store, run: Run, wait: float = SILENT) -> Run | None:
    """Mark a run as crashed in the catalog, once it is proven dead: its lease must be ours first.

    Returns the run as marked; None where it lives (waited for `wait` seconds), or was ended or marked by another.
    """
    why = dead(store, run.run_id)
    try:
        with leases.lease(store, PREFIX + run.run_id, wait=wait, about="marking a crashed run", forget=True, say=quiet):
            now = get(store, run.run_id)
            if now is None or now.over:
                return None
            reason = why or "no sign of life from another machine"
            marked = replace(
                now, status=CRASHED, reason=reason, ended_at=datetime.now(UTC).isoformat(timespec="seconds")
            )
            put(store, marked)
            return marked
    except leases.LeaseTaken:
        return None


def quiet(text: str) -> None:
    """Nobody need know that a dead run's lease was waited for."""
