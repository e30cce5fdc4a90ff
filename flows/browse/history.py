"""Build history: the size of each build, and what changed since its parent."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.diff import changed, flat
from codi2_storage.catalog.provenance import rows

CHANGES = 12  # maximum listed of a build's recipe and corpora

SIZES = """
    select n.build_id, count(*) as shards, sum(n.bytes)::bigint as bytes,
           count(*) filter (where o.shard is null) as written,
           coalesce(sum(n.bytes) filter (where o.shard is null), 0)::bigint as bytes_written
    from shards n join builds b on b.build_id = n.build_id
         left join shards o on o.build_id = b.parent and o.shard = n.shard and o.sha256 is not distinct from n.sha256
    group by n.build_id"""


def history(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Every published build, latest first. `changes` lists the first [what, before, after] relative to its parent."""
    commits = {commit.id: commit for commit in catalog.builds()}
    sizes = {row.pop("build_id"): row for row in rows(connection, SIZES, [])}
    revisions = revisions_of(catalog, connection)
    specs = {
        row["build_id"]: flat(json.loads(row["spec"] or "{}"))
        for row in rows(connection, "select build_id, spec from builds", [])
    }
    builds = []
    for row in rows(
        connection, "select * exclude (spec, environment) from builds order by created_at desc, build_id", []
    ):
        build, parent = row["build_id"], row["parent"]
        if build not in commits:
            continue
        row |= sizes.get(build, {"shards": 0, "bytes": 0, "written": 0, "bytes_written": 0})
        row["created_at"] = row["created_at"] or commits[build].info.get("created_at")
        if parent in specs:
            changes = [*changed(revisions[parent], revisions[build]), *changed(specs[parent], specs[build])]
            row["changes"] = [[change.name, change.old, change.new] for change in changes[:CHANGES]]
            row["more_changes"] = max(0, len(changes) - CHANGES)
        builds.append(row)
    return builds


def revisions_of(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Build -> corpus -> the revision that it uses."""
    by_ingest: dict[str, list[tuple[str, str]]] = {}
    for row in rows(
        connection,
        "select distinct ingest_id, corpus, revision from corpora where ingest_id is not null order by all",
        [],
    ):
        by_ingest.setdefault(row["ingest_id"], []).append((row["corpus"], row["revision"]))
    by_build = {}
    for commit in catalog.builds():
        held = {f"corpus {corpus}": revision for used in commit.uses for corpus, revision in by_ingest.get(used, [])}
        by_build[commit.id] = held
    return by_build
