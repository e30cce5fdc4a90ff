"""Status of a root: active and ended runs, promoted model, latest build, schedules, sizes.

Reads commits, leases and log streams. Queries a Prefect server only if one is configured or running for the root, without
importing Prefect.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from codi2_flows.runtime.logs import last_lines
from codi2_flows.server import prefect_status
from codi2_model.checkpoints.registry import promoted
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.coordination.runs import CRASHED, FAILED, RUNNING, Run, heartbeat_age, last_of_each, list_runs
from codi2_storage.gc.pins import pins
from codi2_storage.store import Store

DEFAULT_RUNS = 10  # ended runs
FOLDERS = ("shards", "assets", "catalog", "cache", "runs", "evaluations", "logs")


@dataclass(frozen=True)
class RunSummary:
    """A run with its progress."""

    run_id: str
    flow: str
    status: str
    since: str
    seconds: float | None
    attempt: int
    reason: str | None = None
    progress: str | None = None
    left: float | None = None
    """Estimated seconds to the end of the current step."""
    heartbeat: float | None = None
    """Seconds since the last heartbeat."""
    remedy: str | None = None
    build_id: str | None = None


@dataclass(frozen=True)
class Status:
    """The status of a root. `codi2 status --json` prints its fields."""

    root: str
    running: list[RunSummary]
    ended: list[RunSummary]
    """Newest first, without runs that are part of another one."""
    troubled: list[RunSummary]
    """Failed and crashed runs without a later run of the same flow and parameters."""
    model: dict[str, Any] | None
    build: dict[str, Any] | None
    pinned: list[dict[str, Any]] = field(default_factory=list)
    scheduled: list[dict[str, Any]] | None = None
    """Next run of each flow. None: no Prefect server answers."""
    gave_way: list[dict[str, Any]] | None = None
    """Runs that were skipped because another run of their deployment was active."""
    never_started: list[dict[str, Any]] | None = None
    """Runs that were marked as crashed before they started."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Bytes and files of each folder."""


def status(root: str, max_ended: int = DEFAULT_RUNS) -> Status:
    """The status of a root with at most `max_ended` ended runs."""
    store = Store(root)
    runs = [run for run in list_runs(store) if run.parent is None]
    ended = [run for run in runs if run.over]
    catalog = Catalog(store)
    return Status(
        root=store.uri(),
        running=[running(store, run) for run in runs if not run.over],
        ended=[summary(run, root) for run in ended[:max_ended]],
        troubled=[summary(run, root) for run in last_of_each(runs) if run.status in (FAILED, CRASHED)][:max_ended],
        model=promoted(store),
        build=latest_build(catalog),
        pinned=[asdict(pin) for pin in pins(catalog)],
        **from_prefect(store.uri()),
        sizes=sizes(store),
    )


def summary(run: Run, root: str) -> RunSummary:
    """Summary of an ended run."""
    columns = (run.run_id, run.kind, run.status, run.created_at, run.seconds, run.attempt, run.reason)
    remedy = f"codi2 resume --root {root}" if run.status == "crashed" else None
    return RunSummary(*columns, remedy=remedy, build_id=run.build_id)


def running(store: Store, run: Run) -> RunSummary:
    """Summary of an active run. Its progress is the last log line with the field `done`, else the last line."""
    since = datetime.fromisoformat(run.created_at)
    seconds = round((datetime.now(UTC) - since).total_seconds(), 1)
    lines = last_lines(store, run.run_id)
    progress = next((line for line in reversed(lines) if line["fields"].get("done") is not None), None)
    last = progress or (lines[-1] if lines else None)
    age = heartbeat_age(store, run.run_id)
    return RunSummary(
        run.run_id, run.kind, RUNNING, run.created_at, seconds, run.attempt,
        progress=last["message"] if last else None, left=progress["fields"].get("seconds_left") if progress else None,
        heartbeat=round(age, 1) if age is not None else None, build_id=run.build_id,
    )  # fmt: skip


def latest_build(catalog: Catalog) -> dict[str, Any] | None:
    build = catalog.latest_build()
    if build is None:
        return None
    query = "select build_id, recipe, samples, parent, created_at from builds where build_id = ?"
    with catalog.connect(build, tables=("builds",)) as connection:
        return connection.execute(query, [build]).to_arrow_table().to_pylist()[0]


def from_prefect(root: str) -> dict[str, list[dict[str, Any]] | None]:
    """Scheduled runs, skipped runs, and runs that never started. Each is None if no Prefect server answers."""
    queries = (prefect_status.scheduled, prefect_status.gave_way, prefect_status.never_started)
    base = prefect_status.api_url(root)
    try:
        return {query.__name__: query(base) if base else None for query in queries}
    except (OSError, ValueError):
        return {query.__name__: None for query in queries}


def sizes(store: Store) -> dict[str, dict[str, int]]:
    """Number of bytes and files in each folder of the root that has any."""
    totals = {}
    for name in FOLDERS:
        if files := store.files(name):
            totals[name] = {"bytes": sum(file.bytes for file in files), "files": len(files)}
    return totals
