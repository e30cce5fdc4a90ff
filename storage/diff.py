"""What changed between two builds: what they were asked for, what they stand on, and what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from codi2_storage.catalog import Catalog


@dataclass(frozen=True)
class Diff:
    """Rows that differ; each has what it is about, and its value in the old and the new build (None: not there)."""

    recipe: list[dict[str, Any]]
    corpora: list[dict[str, Any]]
    operators: list[dict[str, Any]]
    source_rows: list[dict[str, Any]]
    assets: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    shards: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def diff(root: str, old: str, new: str) -> Diff:
    """Compare two published builds. Raises CatalogError where one is not there."""
    catalog = Catalog(root)
    builds = [catalog.connect(build) for build in (old, new)]
    try:

        def table(query: str) -> list[list[tuple[Any, ...]]]:
            return [connection.execute(query).fetchall() for connection in builds]

        specs = [json.loads(row[0][0] or "{}") for row in table("select spec from builds where spec is not null")]
        versions = "select distinct stage || ': ' || op, op_version from op_runs"
        return Diff(
            recipe=changed([flat(spec) for spec in specs]),
            corpora=changed([dict(rows) for rows in table("select corpus, revision from corpora")]),
            operators=changed([dict(rows) for rows in table(versions)]),
            source_rows=moved(table("select corpus, locator, sha256 from source_rows")),
            assets=moved(table("select corpus, asset_id, null from assets where op is null")),
            samples=moved(table("select task || ' ' || split, sample_id, null from samples")),
            rejects=changed(
                [
                    dict(rows)
                    for rows in table("select concat_ws(': ', stage, op, reason), count(*) from rejects group by 1")
                ]
            ),
            shards=moved(table("select task, shard, null from shards")),
        )
    finally:
        for connection in builds:
            connection.close()


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} as {'a.b': 1}."""
    if isinstance(value, dict) and value:
        return {key: item for k, v in value.items() for key, item in flat(v, f"{name}.{k}" if name else k).items()}
    return {name: json.dumps(value) if isinstance(value, (list, dict)) else value}


def changed(sides: list[dict[str, Any]]) -> list[dict[str, Any]]:
    old, new = sides
    return [
        {"name": name, "old": old.get(name), "new": new.get(name)}
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def moved(sides: list[list[tuple[Any, ...]]]) -> list[dict[str, Any]]:
    """Rows (group, key, content): how many of each group stayed, came, went, or hold something else now."""
    old, new = ({(group, key): content for group, key, content in side} for side in sides)
    counts: dict[str, dict[str, Any]] = {}
    for item in {*old, *new}:
        line = counts.setdefault(item[0], {"name": item[0], "kept": 0, "added": 0, "removed": 0, "changed": 0})
        what = "added" if item not in old else "removed" if item not in new else None
        line[what or ("kept" if old[item] == new[item] else "changed")] += 1
    return [counts[name] for name in sorted(counts) if any(counts[name][k] for k in ("added", "removed", "changed"))]
