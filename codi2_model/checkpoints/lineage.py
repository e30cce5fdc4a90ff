"""Lineage of a model: deployment -> checkpoint -> training run -> build -> tasks -> corpora and their licences.

A run that started from another checkpoint's weights leads on to the run that made that checkpoint. The lineage also
holds the promotion decisions about the model, its evaluations, and the number of requests it answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import duckdb

from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.catalog.provenance import BuildContents, BuildContentsCache, LicenceUse, Read, rows
from codi2_storage.uris import located, relative

TABLES = ("runs", "checkpoints", "metrics", "gates", "deployments", "builds")
GATE = ("gate_id", "build_id", "candidate", "champion", "promoted", "reason", "created_at")
LINE = ("role", "metric", "candidate_value", "champion_value", "gain", "low", "high", "n", "passed")


@dataclass(frozen=True)
class Training:
    """One training run, the checkpoint it made and the build it read. `origin` is None if that build was deleted."""

    checkpoint_id: str
    run: dict[str, Any]
    tasks: list[str]
    origin: BuildContents | None
    parents: list[dict[str, Any]]
    """The earlier builds of that build's history, nearest first."""


@dataclass(frozen=True)
class ModelLineage:
    """The lineage of one checkpoint.

    `trainings`: the run that made the checkpoint first, then the runs whose weights it started from. `licences`: of all
    of these runs together.
    """

    checkpoint: dict[str, Any]
    in_place: bool
    deployments: list[dict[str, Any]]
    trainings: list[Training]
    gates: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    answered: int
    licences: list[LicenceUse]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def model_lineage(catalog: Catalog, checkpoint: str | None = None) -> ModelLineage:
    """The lineage of a checkpoint, by default of the promoted one.

    URIs are returned in the form in which they can be opened.

    `checkpoint`: its id, a unique prefix of it, or its URI. Raises CatalogError if none matches, or more than one.
    """
    with catalog.connect(all_builds=True, tables=TABLES) as connection:
        return lineage_of(connection, BuildContentsCache(catalog), checkpoint)


def lineage_of(
    connection: duckdb.DuckDBPyConnection, origins: BuildContentsCache, checkpoint: str | None
) -> ModelLineage:
    """The same over an open connection that shows `TABLES` with the rows of every build."""
    present = rows(
        connection, "select * from deployments where name = 'default' order by since desc, checkpoint_id limit 1", []
    )
    catalog = origins.catalog
    row = checkpoint_row(connection, catalog, checkpoint, present[0] if present else None)
    identity = row["checkpoint_id"]
    served = rows(connection, "select * from deployments where checkpoint_id = ? order by since desc", [identity])
    trainings = chain(connection, row, origins)
    store = catalog.store
    return ModelLineage(
        checkpoint=located(store, row),
        in_place=bool(present) and present[0]["checkpoint_id"] == identity,
        deployments=[located(store, one) for one in served],
        trainings=trainings,
        gates=decisions(connection, "where candidate = ? or champion = ?", [identity, identity]),
        evaluations=[located(store, one) for one in evaluations(connection, identity)],
        answered=answered(catalog, identity),
        licences=origins.licences([read_of(training.run) for training in trainings if training.run["build_id"]]),
    )


def answered(catalog: Catalog, checkpoint_id: str) -> int:
    """How many requests of batch generation the model answered."""
    query = "select count(*) as n from generations where checkpoint_id = ? and status = 'done'"
    with catalog.connect(all_builds=True, tables=("generations",)) as connection:
        return int(rows(connection, query, [checkpoint_id])[0]["n"])


def checkpoint_row(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, wanted: str | None, present: dict[str, Any] | None
) -> dict[str, Any]:
    if wanted is None and present is None:
        raise CatalogError(
            f"no model is in place under {catalog.store.root}: name a checkpoint, or let codi2 retrain make one"
        )
    name = wanted if wanted is not None else str(present["checkpoint_id"])  # type: ignore[index]
    inside = relative(catalog.store, name)
    named = "starts_with(checkpoint_id, ?) or uri in (?, ?)"
    values: list[object] = [name, name.rstrip("/"), inside]
    query = f"select distinct on (checkpoint_id) * from checkpoints where {named} order by checkpoint_id, run_id, uri"
    matches = rows(connection, query, values)
    if not matches:  # weights that were trained elsewhere and promoted here
        query = f"select distinct on (checkpoint_id) checkpoint_id, uri from deployments where {named} order by checkpoint_id, uri"
        matches = [{"run_id": None, "step": None, "sha256": None, **row} for row in rows(connection, query, values)]
    if len(matches) > 1:
        raise CatalogError(f"{len(matches)} checkpoints begin with {name!r}: give more of the id")
    if not matches:
        raise CatalogError(f"no checkpoint {name!r} in the catalog of {catalog.store.root}")
    return matches[0]


def chain(
    connection: duckdb.DuckDBPyConnection, checkpoint: dict[str, Any], origins: BuildContentsCache
) -> list[Training]:
    """The checkpoint's run, then the runs it started from, as far as the catalog records them. Each run appears once."""
    trainings: list[Training] = []
    seen: set[str] = set()
    here: dict[str, Any] | None = checkpoint
    while here and here["run_id"] and here["run_id"] not in seen:
        seen.add(here["run_id"])
        runs = rows(connection, "select * from runs where run_id = ?", [here["run_id"]])
        if not runs:
            break
        run = located(origins.catalog.store, runs[0])
        trainings.append(training(connection, here["checkpoint_id"], run, origins))
        start = runs[0]["start"]
        before = rows(
            connection, "select * from checkpoints where checkpoint_id = ? or uri = ? order by run_id", [start, start]
        )
        here = before[0] if start and before else None
    return trainings


def training(
    connection: duckdb.DuckDBPyConnection, checkpoint_id: str, run: dict[str, Any], origins: BuildContentsCache
) -> Training:
    build = run["build_id"]
    origin = origins.of(read_of(run)) if build else None
    return Training(checkpoint_id, run, trained_tasks(run["config"]), origin, parents(connection, build))


def read_of(run: dict[str, Any]) -> Read:
    return Read(run["build_id"], tuple(trained_tasks(run["config"])) or None)


def trained_tasks(config: str | None) -> list[str]:
    """The tasks that the stages of a training config draw from; empty if it names none."""
    stages = [stage for stage in json.loads(config or "{}").values() if isinstance(stage, dict)]
    drawn = [stage["tasks"] for stage in stages if stage.get("steps") and isinstance(stage.get("tasks"), dict)]
    return sorted({task for tasks in drawn for task in tasks})


def parents(connection: duckdb.DuckDBPyConnection, build_id: str | None) -> list[dict[str, Any]]:
    known = {row["build_id"]: row for row in rows(connection, "select * exclude (spec) from builds", [])}
    ancestors: list[dict[str, Any]] = []
    here = known.get(build_id or "", {}).get("parent")
    while here in known and here not in {build_id, *(row["build_id"] for row in ancestors)}:
        ancestors.append(known[here])
        here = known[here]["parent"]
    return ancestors


def decisions(
    connection: duckdb.DuckDBPyConnection, where: str = "", params: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """Promotion decisions, latest first, each with its `lines`: the metrics it compared."""
    gates = rows(
        connection,
        f"select * from gates {where} order by created_at desc nulls last, gate_id, role, metric",
        list(params),
    )
    decided = []
    for _, group in groupby(gates, key=lambda row: row["gate_id"]):
        lines = list(group)
        shown = [{name: line[name] for name in LINE} for line in lines if line["metric"]]
        decided.append({**{name: lines[0][name] for name in GATE}, "lines": shown})
    return decided


def evaluations(connection: duckdb.DuckDBPyConnection, checkpoint_id: str) -> list[dict[str, Any]]:
    """The evaluations of a checkpoint with its own metrics, without baselines; latest first."""
    measured = rows(
        connection,
        """select run_id, kind, build_id, uri, created_at, suite, task, split, metric, value, low, high, n
           from metrics left join runs using (run_id)
           where checkpoint_id = ? and baseline is null and not starts_with(suite, 'training/')
           order by created_at desc nulls last, run_id, suite, task, metric, split""",
        [checkpoint_id],
    )
    about = ("run_id", "build_id", "uri", "created_at")
    results = []
    for _, group in groupby(measured, key=lambda row: row["run_id"]):
        figures = list(group)
        names = ("suite", "task", "split", "metric", "value", "low", "high", "n")
        shown = [{name: figure[name] for name in names} for figure in figures]
        results.append({**{name: figures[0][name] for name in about}, "metrics": shown})
    return results
