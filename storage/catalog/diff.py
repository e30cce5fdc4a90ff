"""What changed between two builds: what they were asked for, what they stand on, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from codi2_storage.catalog.catalog import Catalog

VERSIONS = """select stage || ': ' || op, string_agg(distinct op_version, ', ' order by op_version)
              from op_runs group by stage, op"""
REVISIONS = "select corpus, string_agg(distinct revision, ', ' order by revision) from corpora group by corpus"
REJECTS = "select concat_ws(': ', stage, op, coalesce(reason, error)), count(*) from rejects group by 1"
# each gives: the group, what names a row in it, what the row holds, and its size
SOURCE_ROWS = "select corpus as name, locator as key, min(sha256) as content, 0 as bytes from source_rows group by all"
ASSETS = "select coalesce('made by ' || op, corpus) as name, asset_id as key, '' as content, bytes from assets"
SAMPLES = "select task || ' ' || split as name, sample_id as key, '' as content, 0 as bytes from samples"
SHARDS = "select task || ' ' || split as name, shard as key, sha256 as content, bytes from shards"
BUILD = ("recipe", "recipe_hash", "code_version", "samples")
FIRST = 3  # ids told of what came and went


@dataclass(frozen=True)
class Change:
    """One value in the old and in the new build; None where it is not there."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Move:
    """How many rows of a group stayed, came, went, or hold something else now; the first of them, in order."""

    name: str
    kept: int
    added: int
    removed: int
    changed: int
    first_added: list[str]
    first_removed: list[str]
    first_changed: list[str]


@dataclass(frozen=True)
class Rewrite:
    """Shards of a task and split that the builds share, that the new one wrote, and that it no longer uses."""

    name: str
    kept: int
    written: int
    removed: int
    bytes_kept: int
    bytes_written: int
    bytes_removed: int


@dataclass(frozen=True)
class Diff:
    """What differs, and nothing else: an empty list says that there is no difference."""

    build: list[Change]
    recipe: list[Change]
    corpora: list[Change]
    operators: list[Change]
    source_rows: list[Move]
    assets: list[Move]
    samples: list[Move]
    rejects: list[Change]
    shards: list[Rewrite]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def diff(root: str, old: str, new: str) -> Diff:
    """Compare two published builds. Raises CatalogError where one is not there."""
    catalog = Catalog(root)
    old, new = catalog.named(old) or old, catalog.named(new) or new
    with catalog.connect(old) as was, catalog.connect(new) as now:
        before, after = build_row(was), build_row(now)
        specs = [flat(json.loads(row["spec"] or "{}")) for row in (before, after)]
        return Diff(
            build=changed({name: before[name] for name in BUILD}, {name: after[name] for name in BUILD}),
            recipe=changed(specs[0], specs[1]),
            corpora=changed(pairs(was, REVISIONS), pairs(now, REVISIONS)),
            operators=changed(pairs(was, VERSIONS), pairs(now, VERSIONS)),
            source_rows=moved(was, now, SOURCE_ROWS),
            assets=moved(was, now, ASSETS),
            samples=moved(was, now, SAMPLES),
            rejects=changed(pairs(was, REJECTS), pairs(now, REJECTS), missing=0),
            shards=rewritten(was, now),
        )


@dataclass(frozen=True)
class Count:
    """How many rows, samples or shards two builds share, and how many came and went; one that changed did both."""

    name: str
    added: int
    removed: int
    kept: int

    def __str__(self) -> str:
        return f"{self.name} +{self.added:,} -{self.removed:,} ={self.kept:,}"


def changes(root: str, old: str, new: str) -> list[Count]:
    """What came, went and stayed, in three numbers each. Raises CatalogError where a build is not there."""
    catalog, found = Catalog(root), []
    what = {"source_rows": SOURCE_ROWS, "samples": SAMPLES, "shards": SHARDS}
    with catalog.connect(old, tables=tuple(what)) as was, catalog.connect(new, tables=tuple(what)) as now:
        for name, query in what.items():
            with side_by_side(was, now, query) as connection:
                row = connection.execute(
                    """select count(*) filter (where what in ('added', 'changed')),
                              count(*) filter (where what in ('removed', 'changed')),
                              count(*) filter (where what = 'kept') from side_by_side"""
                ).fetchone()
            found.append(Count("rows" if name == "source_rows" else name, *(row or (0, 0, 0))))
    return found


def build_row(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The line of the build; all empty where a commit has none."""
    found = connection.execute(f"select spec, {', '.join(BUILD)} from builds limit 1").fetchone()
    return dict(zip(("spec", *BUILD), found or (None,) * (1 + len(BUILD)), strict=True))


def pairs(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Rows (name, value) of a query."""
    return {name: value for name, value in connection.execute(query).fetchall()}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} as {'a.b': 1}. Things in a list go by their name, or else by what they are: order is no change."""
    if isinstance(value, dict) and value:
        return {key: item for k, v in value.items() for key, item in flat(v, f"{name}.{k}" if name else k).items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if len({item.get("name", "") for item in value if item.get("name")}) == len(value):
            named = {item["name"]: {k: v for k, v in item.items() if k != "name"} or True for item in value}
            return flat(named, name)
        return {f"{name}[{json.dumps(item, sort_keys=True)}]": True for item in value}
    return {name: json.dumps(value) if isinstance(value, (list, dict)) else value}


def changed(old: Mapping[str, Any], new: Mapping[str, Any], missing: Any = None) -> list[Change]:
    """The names whose values differ, in order; `missing` stands for those that one side lacks."""
    both = [Change(name, old.get(name, missing), new.get(name, missing)) for name in sorted({*old, *new})]
    return [change for change in both if change.old != change.new]


def side_by_side(
    old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, query: str
) -> duckdb.DuckDBPyConnection:
    """A connection with the table `side_by_side`: the rows of both, joined by name and key."""
    connection = duckdb.connect(":memory:")
    connection.register("old", old.execute(query).to_arrow_table())
    connection.register("new", new.execute(query).to_arrow_table())
    connection.execute(
        """create table side_by_side as
           select coalesce(o.name, n.name, '') as name, coalesce(o.key, n.key) as key,
                  case when o.key is null then 'added' when n.key is null then 'removed'
                       when o.content is distinct from n.content then 'changed' else 'kept' end as what,
                  o.bytes as old_bytes, n.bytes as new_bytes
           from old o full join new n on o.name is not distinct from n.name and o.key = n.key"""
    )
    return connection


def moved(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, query: str) -> list[Move]:
    """The groups in which something came, went or changed."""
    kinds = ("kept", "added", "removed", "changed")
    counts = ", ".join(f"count(*) filter (where what = '{kind}') as {kind}" for kind in kinds)
    first = ", ".join(f"coalesce(min(key, {FIRST}) filter (where what = '{kind}'), [])" for kind in kinds[1:])
    with side_by_side(old, new, query) as connection:
        found = connection.execute(
            f"select name, {counts}, {first} from side_by_side group by name having kept < count(*) order by name"
        ).fetchall()
    return [Move(*row) for row in found]


def rewritten(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection) -> list[Rewrite]:
    """Tasks and splits whose shards are not all the same. A shard of one name and other bytes is written anew."""
    with side_by_side(old, new, SHARDS) as connection:
        found = connection.execute(
            """select name, count(*) filter (where what = 'kept') as kept,
                      count(*) filter (where what in ('added', 'changed')),
                      count(*) filter (where what in ('removed', 'changed')),
                      coalesce(sum(new_bytes) filter (where what = 'kept'), 0)::bigint,
                      coalesce(sum(new_bytes) filter (where what in ('added', 'changed')), 0)::bigint,
                      coalesce(sum(old_bytes) filter (where what in ('removed', 'changed')), 0)::bigint
               from side_by_side group by name having kept < count(*) order by name"""
        ).fetchall()
    return [Rewrite(*row) for row in found]
