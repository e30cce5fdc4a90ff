"""Where a model comes from: deployment -> checkpoint -> training run -> build -> tasks -> corpora and their licences.

A run that began with another checkpoint's weights leads on to that one's run. Beside the way back stand the decisions that
were taken about the model, its evaluations and what it answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import duckdb

from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.catalog.provenance import LicenceUse, Origin, Origins, Read, rows
from codi2_storage.locations.uris import is_absolute, located, relative

TABLES = ("runs", "checkpoints", "metrics", "gates", "deployments", "builds")
GATE = ("gate_id", "build_id", "candidate", "champion", "promoted", "reason", "created_at")
LINE = ("role", "metric", "candidate_value", "champion_value", "gain", "low", "high", "n", "passed")


@dataclass(frozen=True)
class Training:
    """One run on the way back, the weights it made and the build it read; `origin` None where that build is gone."""

    checkpoint_id: str
    run: dict[str, Any]
    tasks: list[str]
    origin: Origin | None
    parents: list[dict[str, Any]]
    """The builds before that one, the nearest first."""


@dataclass(frozen=True)
class ModelLineage:
    """`trainings`: the model's own run first, then those whose weights it began with. `licences`: of all of them together."""

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


def model_lineage(catalog: Catalog, checkpoint: str | None = None, origins: Origins | None = None) -> ModelLineage:
    """Everything the catalog knows of a model's way, of the one in place where none is named. URIs as they can be opened now.

    `checkpoint`: its id, the first characters of it, or its URI. Raises CatalogError where there is none, or more than one.
    """
    with catalog.connect(all_builds=True, tables=TABLES) as connection:
        return lineage_of(connection, origins or Origins(catalog), checkpoint)


def lineage_of(connection: duckdb.DuckDBPyConnection, origins: Origins, checkpoint: str | None) -> ModelLineage:
    """The same over a connection that shows `TABLES` with the rows of every build."""
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
    """Requests of batches that the model answered."""
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
    named = "starts_with(checkpoint_id, ?) or uri in (?, ?) or ends_with(uri, ?)"  # the last: of earlier versions
    asked: list[object] = [name, name.rstrip("/"), inside, inside if is_absolute(inside) else f"/{inside}"]
    query = f"select distinct on (checkpoint_id) * from checkpoints where {named} order by checkpoint_id, run_id, uri"
    found = rows(connection, query, asked)
    if not found:  # weights that were trained elsewhere, and put in place here
        query = f"select distinct on (checkpoint_id) checkpoint_id, uri from deployments where {named} order by checkpoint_id, uri"
        found = [{"run_id": None, "step": None, "sha256": None, **row} for row in rows(connection, query, asked)]
    if len(found) > 1:
        raise CatalogError(f"{len(found)} checkpoints begin with {name!r}: give more of the id")
    if not found:
        raise CatalogError(f"no checkpoint {name!r} in the catalog of {catalog.store.root}")
    return found[0]


def chain(connection: duckdb.DuckDBPyConnection, checkpoint: dict[str, Any], origins: Origins) -> list[Training]:
    """The checkpoint's run, and on along `start`, as far as the catalog knows it; each run once."""
    found: list[Training] = []
    seen: set[str] = set()
    here: dict[str, Any] | None = checkpoint
    while here and here["run_id"] and here["run_id"] not in seen:
        seen.add(here["run_id"])
        runs = rows(connection, "select * from runs where run_id = ?", [here["run_id"]])
        if not runs:
            break
        run = located(origins.catalog.store, runs[0])
        found.append(training(connection, here["checkpoint_id"], run, origins))
        start = runs[0]["start"]
        before = rows(
            connection, "select * from checkpoints where checkpoint_id = ? or uri = ? order by run_id", [start, start]
        )
        here = before[0] if start and before else None
    return found


def training(
    connection: duckdb.DuckDBPyConnection, checkpoint_id: str, run: dict[str, Any], origins: Origins
) -> Training:
    build = run["build_id"]
    found = origins.of(read_of(run)) if build else None
    return Training(checkpoint_id, run, trained_tasks(run["config"]), found, parents(connection, build))


def read_of(run: dict[str, Any]) -> Read:
    return Read(run["build_id"], tuple(trained_tasks(run["config"])) or None)


def trained_tasks(config: str | None) -> list[str]:
    """The tasks that the stages of a training config draw from; empty where it names none."""
    stages = [stage for stage in json.loads(config or "{}").values() if isinstance(stage, dict)]
    drawn = [stage["tasks"] for stage in stages if stage.get("steps") and isinstance(stage.get("tasks"), dict)]
    return sorted({task for tasks in drawn for task in tasks})


def parents(connection: duckdb.DuckDBPyConnection, build_id: str | None) -> list[dict[str, Any]]:
    known = {row["build_id"]: row for row in rows(connection, "select * exclude (spec) from builds", [])}
    found: list[dict[str, Any]] = []
    here = known.get(build_id or "", {}).get("parent")
    while here in known and here not in {build_id, *(row["build_id"] for row in found)}:
        found.append(known[here])
        here = known[here]["parent"]
    return found


def decisions(
    connection: duckdb.DuckDBPyConnection, where: str = "", params: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """Decisions of the gate, the latest first, each with its `lines`: the metrics it looked at."""
    found = rows(
        connection,
        f"select * from gates {where} order by created_at desc nulls last, gate_id, role, metric",
        list(params),
    )
    told = []
    for _, group in groupby(found, key=lambda row: row["gate_id"]):
        lines = list(group)
        shown = [{name: line[name] for name in LINE} for line in lines if line["metric"]]
        told.append({**{name: lines[0][name] for name in GATE}, "lines": shown})
    return told


def evaluations(connection: duckdb.DuckDBPyConnection, checkpoint_id: str) -> list[dict[str, Any]]:
    """The evaluations of a checkpoint with its own figures, baselines left out; the latest first."""
    found = rows(
        connection,
        """select run_id, kind, build_id, uri, created_at, suite, task, split, metric, value, low, high, n
           from metrics left join runs using (run_id)
           where checkpoint_id = ? and baseline is null and not starts_with(suite, 'training/')
           order by created_at desc nulls last, run_id, suite, task, metric, split""",
        [checkpoint_id],
    )
    about = ("run_id", "build_id", "uri", "created_at")
    told = []
    for _, group in groupby(found, key=lambda row: row["run_id"]):
        figures = list(group)
        names = ("suite", "task", "split", "metric", "value", "low", "high", "n")
        shown = [{name: figure[name] for name in names} for figure in figures]
        told.append({**{name: figures[0][name] for name in about}, "metrics": shown})
    return told
