"""Data of the page about everything that ran under a root: runs, promotion decisions, build history, models.

Unlike the displayed build, it changes over time: it is read again when it is older than `FRESH` seconds.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

import duckdb

from codi2_datasets.browse.view import BrowseError
from codi2_flows.browse.curves import curves_of
from codi2_flows.browse.history import history
from codi2_flows.runtime.logs import last_lines
from codi2_model.checkpoints.lineage import decisions, lineage_of
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.provenance import BuildContentsCache, rows
from codi2_storage.catalog.table_cache import TableCache
from codi2_storage.coordination.runs import CRASHED, RUNNING, dead, heartbeat_age
from codi2_storage.store import Store

FRESH = 2.0
RUN_FACETS = ("kind", "status")
TABLES = ("runs", "checkpoints", "metrics", "gates", "deployments", "builds", "shards", "corpora")
LATEST = "created_at desc nulls last, run_id"
MODELS = 200  # maximum number of checkpoints to choose from
# `judged`: run -> the checkpoint it made or evaluated, and its number of metrics; `decided`: retraining -> the result
# of its promotion gate; `told`: runs with their true status
TOLD = """
    create table judged as
    with figured as (select run_id, min(checkpoint_id) as of_model, count(*) filter (where baseline is null) as figures
                     from metrics group by run_id),
         made as (select run_id, arg_max(checkpoint_id, step) as last_made from checkpoints group by run_id)
    select run_id, coalesce(last_made, of_model) as checkpoint_id, coalesce(figures, 0) as figures
    from figured full join made using (run_id);
    create table decided as
    select run_id, arg_max(candidate, g.created_at) as candidate, arg_max(promoted, g.created_at) as promoted
    from runs join gates g using (build_id)
    where kind = 'retrain' and g.created_at between runs.created_at and coalesce(ended_at, '9') group by run_id;
    create table ended (run_id varchar, status varchar, reason varchar);
    create view told as
    select runs.* replace (coalesce(ended.status, runs.status) as status, coalesce(ended.reason, runs.reason) as reason)
    from runs left join ended using (run_id)"""
LOG_LINES = 40  # lines of the log that are shown
SHEET, PAGE = "contact_sheet.png", "index.html"


class Runs:
    """Everything that ran under a root. Thread-safe."""

    def __init__(self, root: str) -> None:
        self.root, self.store = root, Store(root)
        self._lock = threading.Lock()
        self._reader = TableCache(TABLES)
        self._seen: tuple[Catalog, duckdb.DuckDBPyConnection] | None = None
        self._seen_at = 0.0
        self._origins = BuildContentsCache(Catalog(root))

    def connected(self) -> tuple[Catalog, duckdb.DuckDBPyConnection]:
        """The current catalog, and a new cursor over its small tables, which are held in memory."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen_at > FRESH:
                self._seen = self._fresh()
                tell_truth(self.store, self._seen[1])
                self._seen_at = time.monotonic()
            return self._seen[0], self._seen[1].cursor()

    def _fresh(self) -> tuple[Catalog, duckdb.DuckDBPyConnection]:
        catalog = Catalog(self.root)
        if self._seen is not None and catalog.commits == self._seen[0].commits:
            return self._seen
        connection = self._reader.read(catalog)
        connection.execute(TOLD)
        return catalog, connection

    def runs(self, asked: Mapping[str, str], offset: int = 0, limit: int = 12) -> dict[str, Any]:
        """A page of runs, latest first, with the number of matches, and the counts for each other choice."""
        _, cursor = self.connected()
        where, params = fitting(asked)
        total = rows(cursor, f"select count(*) as n from told where {where}", params)[0]["n"]
        matches = rows(
            cursor,
            f"""select told.* exclude (config, environment), judged.checkpoint_id, judged.figures, decided.candidate, decided.promoted
                from told left join judged using (run_id) left join decided using (run_id) where {where} order by {LATEST} limit ? offset ?""",
            [*params, limit, offset],
        )
        facets = {}
        for facet in RUN_FACETS:
            others, values = fitting({key: value for key, value in asked.items() if key != facet})
            query = f"select coalesce({facet}, '') as value, count(*) as n from told where {others} group by 1 order by n desc, 1"
            facets[facet] = rows(cursor, query, values)
        for row in matches:
            without_uri(row)
            if row["status"] == RUNNING:
                row |= {
                    "progress": progress_of(last_lines(self.store, row["run_id"])),
                    "silent": heartbeat_age(self.store, row["run_id"]),
                }
        return {"total": total, "offset": offset, "runs": matches, "facets": facets}

    def run(self, run_id: str) -> dict[str, Any]:
        """One run with its settings, metrics, losses and the paths of its pages. Raises BrowseError if there is none."""
        _, cursor = self.connected()
        matches = rows(cursor, "select * from told where run_id = ? limit 1", [run_id])
        if not matches:
            raise BrowseError(f"no run {run_id} under {self.root}")
        run = without_uri(matches[0])
        for name in ("config", "environment"):
            run[name] = json.loads(run[name] or "{}")
        figures = rows(
            cursor,
            """select suite, task, split, metric, value, low, high, n, baseline, checkpoint_id from metrics
               where run_id = ? order by suite, task, metric, split, baseline nulls first""",
            [run_id],
        )
        made = rows(cursor, "select checkpoint_id, step from checkpoints where run_id = ? order by step", [run_id])
        parts = rows(
            cursor, "select run_id, kind, status from told where parent = ? order by created_at, run_id", [run_id]
        )
        return {
            "run": run,
            "parts": parts,
            "metrics": figures,
            "checkpoints": made,
            "losses": curves_of(self.store, run_id),
            "log": last_lines(self.store, run_id)[-LOG_LINES:],
            **self.pages(run_id),
        }

    def pages(self, run_id: str) -> dict[str, str]:
        """Paths of an evaluation's page and contact sheet, if they exist."""
        names = {"sheet": SHEET, "page": PAGE}
        paths = {what: f"evaluations/{run_id}/{name}" for what, name in names.items()}
        return {what: name for what, name in paths.items() if self.store.exists(name)}

    def file(self, run_id: str, name: str) -> bytes:
        """A file of an evaluation's page. Raises BrowseError if it does not exist or the name leaves the folder."""
        _, cursor = self.connected()
        known = rows(cursor, "select run_id from runs where run_id = ? limit 1", [run_id])
        plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part) for part in name.split("/"))
        path = f"evaluations/{run_id}/{name}"
        if not known or not plain or not self.store.exists(path):
            raise BrowseError(f"no page {name} of {run_id}")
        return self.store.read_bytes(path)

    def gates(self) -> list[dict[str, Any]]:
        """Every promotion decision, latest first, with the metrics it compared."""
        return decisions(self.connected()[1])

    def history(self) -> list[dict[str, Any]]:
        """Every published build, latest first, with its size and what changed since its parent."""
        return history(*self.connected())

    def models(self) -> list[dict[str, Any]]:
        """Checkpoints to choose from: the promoted one first, then those that were promoted or trained last."""
        return rows(
            self.connected()[1],
            f"""with placed as (select checkpoint_id, max(since) as since from deployments
                                     where name = 'default' group by 1),
                     made as (select checkpoint_id, min_by(run_id, created_at) as run_id, min(created_at) as created_at
                              from checkpoints left join runs using (run_id) group by 1)
                select checkpoint_id, run_id, created_at, since,
                       since is not null and since = max(since) over () as in_place
                from made full join placed using (checkpoint_id)
                order by in_place desc, coalesce(since, created_at) desc nulls last, checkpoint_id limit {MODELS}""",
            [],
        )

    def model(self, checkpoint_id: str) -> dict[str, Any]:
        """The lineage of a model. Raises CatalogError if there is no such checkpoint."""
        catalog, cursor = self.connected()
        self._origins.catalog = catalog
        lineage = lineage_of(cursor, self._origins, checkpoint_id).to_dict()
        for training in lineage["trainings"]:
            without_uri(training["run"])
        for row in (lineage["checkpoint"], *lineage["deployments"], *lineage["evaluations"]):
            without_uri(row)
        return lineage


def tell_truth(store: Store, connection: duckdb.DuckDBPyConnection) -> None:
    """Mark runs that are recorded as running but are dead as crashed: a killed run cannot record its end."""
    connection.execute("delete from ended")
    for row in rows(connection, "select run_id from runs where status = ?", [RUNNING]):
        if why := dead(store, row["run_id"]):
            connection.execute("insert into ended values (?, ?, ?)", [row["run_id"], CRASHED, why])


def progress_of(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The progress in the latest line that has one: step, done, total, unit, seconds_left. None if there is none."""
    for line in reversed(lines):
        fields = line["fields"] or {}
        if fields.get("total"):
            known = {name: fields.get(name) for name in ("done", "total", "unit", "seconds_left")}
            return {"step": line["step"], **known}
    return None


def without_uri(row: dict[str, Any]) -> dict[str, Any]:
    """Remove the URI from a row that may leave the machine, so that the page shows no local paths."""
    row.pop("uri", None)
    return row


def fitting(asked: Mapping[str, str]) -> tuple[str, list[object]]:
    """SQL for the requested runs: a kind, a status, and words to search for in `q`."""
    parts, params = ["true"], []  # type: list[str], list[object]
    for facet in RUN_FACETS:
        if facet in asked:
            parts.append(f"coalesce({facet}, '') = ?")
            params.append(asked[facet])
    if words := asked.get("q", "").strip().lower():
        parts.append("contains(lower(concat_ws(chr(10), run_id, build_id, kind, status, reason)), ?)")
        params.append(words)
    return " and ".join(parts), params
