"""Runs of flows in the catalog, and their true status when the catalog still calls them running.

A run holds the lease `run-<its id>` while it is alive. A row with status running whose lease nobody holds is reported
as crashed: the process was killed and could not record its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from codi2_storage.commits.commit import Commit
from codi2_storage.commits.manifests import Writer, commits, committed
from codi2_storage.coordination import leases
from codi2_storage.store import Store
from codi2_storage.uris import relative

RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED = "running", "completed", "failed", "cancelled", "crashed"
PREFIX = "run-"  # prefix of a run's lease
SILENT = 2 * leases.TTL  # seconds without a heartbeat after which a run on another machine is reported as crashed


@dataclass(frozen=True)
class Run:
    """A row of `runs` whose kind is a flow.

    Times are UTC in ISO format. `config`: the flow's parameters as JSON, in which paths inside the root begin with
    {root}.
    """

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
    """One more than the number of runs of the same flow and parameters that crashed directly before this one."""
    parent: str | None = None
    """Id of the run that this one is a part of."""
    flow_run: str | None = None
    """Id of the flow run in Prefect."""
    build_id: str | None = None
    seed: int | None = None
    workers: int | None = None
    uri: str | None = None
    environment: str | None = None
    code_version: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """As stored; `codi2_storage.coordination.run_parameters.present` converts them to what the flow takes."""
        return dict(json.loads(self.config))

    @property
    def over(self) -> bool:
        return self.status != RUNNING


NAMES = frozenset(field.name for field in fields(Run))


def put(store: Store, run: Run) -> None:
    """Write a run's row; it replaces the row that the catalog had of this run."""
    row = asdict(run)
    if run.uri:
        row["uri"] = relative(store, run.uri)
    with Writer(store, run.run_id, "run", info={"flow": run.kind, **row}) as writer:
        writer.append("runs", [row])


def get(store: Store, run_id: str) -> Run | None:
    """A run as recorded: a dead one may still have status running. None if there is no such run."""
    commit = committed(store, run_id, "run")
    return run_of(commit) if commit else None


def run_of(commit: Commit) -> Run | None:
    """The run that a commit of kind `run` records; None if that is no flow's (but a training, an evaluation, ...)."""
    if "flow" not in commit.info:
        return None
    return Run(**{name: value for name, value in commit.info.items() if name in NAMES})


def list_runs(store: Store) -> list[Run]:
    """All runs of flows, latest first, each with its true status."""
    recorded = [run for commit in commits(store, "run") if (run := run_of(commit))]
    return [truth(store, run) for run in sorted(recorded, key=lambda run: (run.created_at, run.run_id), reverse=True)]


def last_of_each(runs: Iterable[Run]) -> list[Run]:
    """The last run of each flow and parameters. `runs`: latest first."""
    last: dict[tuple[str, str], Run] = {}
    for run in runs:
        last.setdefault((run.kind, run.config), run)
    return list(last.values())


def truth(store: Store, run: Run) -> Run:
    """The run; if it is recorded as running but is dead, a copy with status crashed and the reason."""
    if run.status != RUNNING or (why := dead(store, run.run_id)) is None:
        return run
    now = get(store, run.run_id)  # it may have ended normally since its row was read
    return now if now and now.over else replace(run, status=CRASHED, reason=why)


def dead(store: Store, run_id: str) -> str | None:
    """Why a run that is recorded as running is dead; None if it may be alive."""
    name = PREFIX + run_id
    number = leases.highest(store, name)
    holder = leases.read(store, name, number) if number else None
    if number == 0 or (holder and holder.released):
        return "ended without recording a status"
    if holder and holder.process.gone:
        return f"its process (pid {holder.process.pid}) was killed or died"
    if holder and holder.alive(store):
        return None
    age = heartbeat_age(store, run_id)
    return None if age is None or age < SILENT else f"no heartbeat for {age:.0f} s from another machine"


def heartbeat_age(store: Store, run_id: str) -> float | None:
    """Seconds since the last heartbeat, by the clocks of the store and this machine; None if there is no heartbeat.

    For display only: no decision may depend on it.
    """
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
    """Runs of a flow that are recorded as running, listed from their leases: few, however long the history is."""
    base = store.path(leases.FOLDER)
    try:
        entries = store.fs.ls(base, detail=False)
    except FileNotFoundError:
        return
    start = f"{PREFIX}{flow}-"
    for name in sorted(str(path).rstrip("/").rpartition("/")[2] for path in entries):
        if name.startswith(start) and (run := get(store, name.removeprefix(PREFIX))) and run.status == RUNNING:
            yield run


def mark_crashed(store: Store, run: Run, wait: float = SILENT) -> Run | None:
    """Mark a run as crashed in the catalog, once this process holds its lease, which proves it dead.

    Returns the run as marked; None if it is alive (after waiting `wait` seconds), or another process ended or marked
    it.
    """
    why = dead(store, run.run_id)
    try:
        with leases.lease(store, PREFIX + run.run_id, wait=wait, about="marking a crashed run", forget=True, say=quiet):
            now = get(store, run.run_id)
            if now is None or now.over:
                return None
            reason = why or "no heartbeat from another machine"
            marked = replace(
                now, status=CRASHED, reason=reason, ended_at=datetime.now(UTC).isoformat(timespec="seconds")
            )
            put(store, marked)
            return marked
    except leases.LeaseTaken:
        return None


def quiet(text: str) -> None:
    """Discard the lease's messages: waiting for a dead run's lease is not worth a message."""
