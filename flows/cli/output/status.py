"""How things stand under a root: what runs, what ran and how it ended, what is in place and comes next, how large it all is.

Reads commits, leases and the ends of log streams; asks a Prefect server only where one is configured, without importing Prefect.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from codi2_flows.runtime import prefect_status
from codi2_flows.runtime.logs import read_lines
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.coordination.runs import RUNNING, Run, heartbeat_age, list_runs
from codi2_storage.gc.pins import pins
from codi2_storage.store import Store
from codi2_storage.uris import located

SHOWN = 10  # runs that ended, at most, unless more are asked for
FOLDERS = ("shards", "assets", "catalog", "runs", "evaluations", "logs")


@dataclass(frozen=True)
class Line:
    """A run, with what makes sense of it now."""

    run_id: str
    flow: str
    status: str
    since: str
    seconds: float | None
    attempt: int
    reason: str | None = None
    progress: str | None = None
    left: float | None = None
    """Seconds to go, of the present step."""
    heartbeat: float | None = None
    """Seconds since its last sign of life."""
    remedy: str | None = None
    build_id: str | None = None


@dataclass(frozen=True)
class Status:
    root: str
    running: list[Line]
    ended: list[Line]
    """The last first; those within another run are left out."""
    troubled: list[Line]
    """Failed and crashed ones that no later run of the same flow and parameters made good."""
    model: dict[str, Any] | None
    build: dict[str, Any] | None
    pinned: list[dict[str, Any]] = field(default_factory=list)
    scheduled: list[dict[str, Any]] | None = None
    """None: there is no server to ask."""
    gave_way: list[dict[str, Any]] | None = None
    """Cancelled before they began, since another of their deployment was under way."""
    never_started: list[dict[str, Any]] | None = None
    """Called crashed before they began."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Bytes and files of each folder."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def status(root: str, shown: int = SHOWN) -> Status:
    store = Store(root)
    runs = [run for run in list_runs(store) if run.parent is None]
    ended = [run for run in runs if run.over]
    catalog = Catalog(store)
    return Status(
        root=store.uri(),
        running=[running(store, run) for run in runs if not run.over],
        ended=[line(run, root) for run in ended[:shown]],
        troubled=[line(run, root) for run in troubled(runs)[:shown]],
        model=in_place(catalog),
        build=latest(catalog),
        pinned=[asdict(pin) for pin in pins(catalog)],
        **from_prefect(store.uri()),
        sizes=sizes(store),
    )


def line(run: Run, root: str) -> Line:
    about = (run.run_id, run.kind, run.status, run.created_at, run.seconds, run.attempt, run.reason)
    remedy = f"codi2 resume --root {root}" if run.status == "crashed" else None
    return Line(*about, remedy=remedy, build_id=run.build_id)


def running(store: Store, run: Run) -> Line:
    """A run that lives: how far it is, by the last line of its stream that says so."""
    since = datetime.fromisoformat(run.created_at)
    seconds = round((datetime.now(UTC) - since).total_seconds(), 1)
    lines, _ = read_lines(store, run.run_id)
    told = next((one for one in reversed(lines) if one["fields"].get("done") is not None), None)
    last = told or (lines[-1] if lines else None)
    beat = heartbeat_age(store, run.run_id)
    return Line(
        run.run_id, run.kind, RUNNING, run.created_at, seconds, run.attempt,
        progress=last["message"] if last else None, left=told["fields"].get("seconds_left") if told else None,
        heartbeat=round(beat, 1) if beat is not None else None, build_id=run.build_id,
    )  # fmt: skip


def troubled(runs: list[Run]) -> list[Run]:
    """Of every flow and parameters the last run alone counts, and only if it failed or crashed."""
    last: dict[tuple[str, str], Run] = {}
    for run in runs:  # the last first
        last.setdefault((run.kind, run.config), run)
    return [run for run in last.values() if run.status in ("failed", "crashed")]


def in_place(catalog: Catalog) -> dict[str, Any] | None:
    query = "select * from deployments where name = 'default' order by since desc, checkpoint_id limit 1"
    with catalog.connect(tables=("deployments",)) as connection:
        found = connection.execute(query).to_arrow_table().to_pylist()
    return located(catalog.store, found[0]) if found else None


def latest(catalog: Catalog) -> dict[str, Any] | None:
    build = catalog.latest_build()
    if build is None:
        return None
    query = "select build_id, recipe, samples, parent, created_at from builds where build_id = ?"
    with catalog.connect(build, tables=("builds",)) as connection:
        return connection.execute(query, [build]).to_arrow_table().to_pylist()[0]


def from_prefect(root: str) -> dict[str, list[dict[str, Any]] | None]:
    """What comes next, what gave way and what never started; None each where there is no server, or it does not answer."""
    questions = (prefect_status.scheduled, prefect_status.gave_way, prefect_status.never_started)
    base = prefect_status.address(root)
    try:
        return {question.__name__: question(base) if base else None for question in questions}
    except (OSError, ValueError):
        return {question.__name__: None for question in questions}


def sizes(store: Store) -> dict[str, dict[str, int]]:
    """Bytes and files of the root's folders."""
    found = {}
    for name in FOLDERS:
        if files := store.files(name):
            found[name] = {"bytes": sum(file.bytes for file in files), "files": len(files)}
    return found
