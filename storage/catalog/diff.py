"""Compare two builds: recipe, corpora, operators, source rows, assets, samples, rejects and shards."""

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
# columns of each query: the group, the key of a row in it, the row's content, its size in bytes
SOURCE_ROWS = "select corpus as name, locator as key, min(sha256) as content, 0 as bytes from source_rows group by all"
ASSETS = "select coalesce('made by ' || op, corpus) as name, asset_id as key, '' as content, bytes from assets"
SAMPLES = "select task || ' ' || split as name, sample_id as key, '' as content, 0 as bytes from samples"
SHARDS = "select task || ' ' || split as name, shard as key, sha256 as content, bytes from shards"
BUILD = ("recipe", "recipe_hash", "code_version", "samples")
FIRST = 3  # ids listed of the rows that were added, removed or changed


@dataclass(frozen=True)
class Change:
    """One value in the old and in the new build; None where a build lacks it."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Move:
    """How many rows of a group were kept, added, removed or changed, and the first ids of each in sorted order."""

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
    """Shards of one task and split: shared by both builds, written by the new build, no longer used by it."""

    name: str
    kept: int
    written: int
    removed: int
    bytes_kept: int
    bytes_written: int
    bytes_removed: int


@dataclass(frozen=True)
class Diff:
    """The differences alone: an empty list means no difference."""

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
    """Compare two published builds. Raises CatalogError if one does not exist."""
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
    """How many rows, samples or shards were added, removed and kept. A changed one counts as added and as removed."""

    name: str
    added: int
    removed: int
    kept: int

    def __str__(self) -> str:
        return f"{self.name} +{self.added:,} -{self.removed:,} ={self.kept:,}"


def changes(root: str, old: str, new: str) -> list[Count]:
    """Count the added, removed and kept source rows, samples and shards. Raises CatalogError if a build does not exist."""
    catalog, counts = Catalog(root), []
    what = {"source_rows": SOURCE_ROWS, "samples": SAMPLES, "shards": SHARDS}
    with catalog.connect(old, tables=tuple(what)) as was, catalog.connect(new, tables=tuple(what)) as now:
        for name, query in what.items():
            with side_by_side(was, now, query) as connection:
                row = connection.execute(
                    """select count(*) filter (where what in ('added', 'changed')),
                              count(*) filter (where what in ('removed', 'changed')),
                              count(*) filter (where what = 'kept') from side_by_side"""
                ).fetchone()
            counts.append(Count("rows" if name == "source_rows" else name, *(row or (0, 0, 0))))
    return counts


def build_row(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The row of the build in `builds`; all values are None if the commit has none."""
    row = connection.execute(f"select spec, {', '.join(BUILD)} from builds limit 1").fetchone()
    return dict(zip(("spec", *BUILD), row or (None,) * (1 + len(BUILD)), strict=True))


def pairs(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """The rows (name, value) of a query, as a dict."""
    return {name: value for name, value in connection.execute(query).fetchall()}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Flatten nested dicts: {'a': {'b': 1}} becomes {'a.b': 1}.

    Items of a list are keyed by their `name`, otherwise by their content, so that a new order is no change.
    """
    if isinstance(value, dict) and value:
        return {key: item for k, v in value.items() for key, item in flat(v, f"{name}.{k}" if name else k).items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if len({item.get("name", "") for item in value if item.get("name")}) == len(value):
            named = {item["name"]: {k: v for k, v in item.items() if k != "name"} or True for item in value}
            return flat(named, name)
        return {f"{name}[{json.dumps(item, sort_keys=True)}]": True for item in value}
    return {name: json.dumps(value) if isinstance(value, (list, dict)) else value}


def changed(old: Mapping[str, Any], new: Mapping[str, Any], missing: Any = None) -> list[Change]:
    """The names whose values differ, sorted; `missing` is the value of a name that one side lacks."""
    both = [Change(name, old.get(name, missing), new.get(name, missing)) for name in sorted({*old, *new})]
    return [change for change in both if change.old != change.new]


def side_by_side(
    old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, query: str
) -> duckdb.DuckDBPyConnection:
    """A connection with the table `side_by_side`: the rows of both builds, joined by name and key."""
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
    """The groups in which rows were added, removed or changed."""
    kinds = ("kept", "added", "removed", "changed")
    counts = ", ".join(f"count(*) filter (where what = '{kind}') as {kind}" for kind in kinds)
    first = ", ".join(f"coalesce(min(key, {FIRST}) filter (where what = '{kind}'), [])" for kind in kinds[1:])
    with side_by_side(old, new, query) as connection:
        rows = connection.execute(
            f"select name, {counts}, {first} from side_by_side group by name having kept < count(*) order by name"
        ).fetchall()
    return [Move(*row) for row in rows]


def rewritten(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection) -> list[Rewrite]:
    """Tasks and splits whose shards differ. A shard of the same name with other bytes counts as written."""
    with side_by_side(old, new, SHARDS) as connection:
        rows = connection.execute(
            """select name, count(*) filter (where what = 'kept') as kept,
                      count(*) filter (where what in ('added', 'changed')),
                      count(*) filter (where what in ('removed', 'changed')),
                      coalesce(sum(new_bytes) filter (where what = 'kept'), 0)::bigint,
                      coalesce(sum(new_bytes) filter (where what in ('added', 'changed')), 0)::bigint,
                      coalesce(sum(old_bytes) filter (where what in ('removed', 'changed')), 0)::bigint
               from side_by_side group by name having kept < count(*) order by name"""
        ).fetchall()
    return [Rewrite(*row) for row in rows]
