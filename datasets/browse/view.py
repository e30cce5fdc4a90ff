"""Data of the page about one build. The tables are held in memory, so that every query is fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import duckdb

from codi2_datasets.formats.sample import EXTENSIONS
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.lineage import asset_lineage
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

FACETS = ("task", "split", "holdout", "licence", "language", "demos", "corpus")
REJECT_FACETS = ("stage", "op", "reason")
MEDIA_TYPES = {"webp": "image/webp", "flac": "audio/flac", "mp4": "video/mp4"}
ORDERS = {
    "demos": "demos desc, sample_id",
    "parts": "n_parts desc, sample_id",
    "task": "task, sample_id",
}  # otherwise by id, which is a hash: a random order
BINS = 24


class BrowseError(UsageError):
    """There is nothing to show: no build, or no such sample. The message names which."""


class View:
    """One build of a root. Thread-safe."""

    def __init__(self, root: str, build: str | None = None) -> None:
        self.root, self.store, catalog = root, Store(root), Catalog(root)
        self.build = catalog.named(build)
        if self.build is None:
            raise BrowseError(f"no published build under {root}: codi2 build makes one")
        self.published = catalog.builds()
        self.connection = catalog.connect(self.build)
        # `words` holds a sample's texts in one string, separated by line breaks, which no search contains
        self.connection.execute(
            """create table p as select * from parts order by sample_id, position;
               create table a as select * exclude ("text") from assets;
               create table c as select distinct sample_id, corpus from p join a using (asset_id);
               create table s as select * exclude (n_demos), n_demos as demos, coalesce(words, '') as words from samples
                   left join (select sample_id, lower(string_agg("text", chr(10) order by position)) as words from p
                              group by 1) using (sample_id)
                   left join (select sample_id, list(corpus order by corpus) as corpora from c group by 1) using (sample_id)
                   order by sample_id;
               create table i as select asset_id, source_row_id, modality, shard, "offset", bytes from ingested
                   where shard is not null;
               create table f as select asset_id as subject, asset_id, modality, source_row_id from i
                   union select source_row_id, asset_id, modality, source_row_id from i;
               create table l as select source_row_id, corpus || ':' || locator as place from source_rows;
               create table r as select row_number() over (order by stage, op, reason, subject, score, error) as n, rejects.*,
                       f.modality, f.asset_id, l.place
                   from rejects left join (select distinct on (subject) * from f order by subject, source_row_id) f
                   using (subject) left join l using (source_row_id);
               create table b as select * from builds"""
        )

        for name in ("source_rows", "corpora", "op_runs", "signals"):
            self.connection.execute(
                f"create table held as from {name}; drop view {name}; alter table held rename to {name}"
            )
        # lineage queries whole assets, but needs no text
        self.connection.execute(
            """create table g as select asset_id, op, name, arg_max(value, op_version) as value from signals
                   where value is not null group by all;
               drop view assets;
               create view assets as select *, null as "text" from a"""
        )

    def rows(self, query: str, *params: object) -> list[dict[str, Any]]:
        cursor: duckdb.DuckDBPyConnection = self.connection.cursor()
        return cursor.execute(query, list(params)).to_arrow_table().to_pylist()

    def about(self) -> dict[str, Any]:
        builds = self.rows("select build_id, recipe, samples, created_at, parent from b")
        return {"build": builds[0], "title": f"{builds[0]['recipe']} {builds[0]['build_id']}"}

    def builds(self) -> list[dict[str, Any]]:
        """Every published build of the root, latest first; `shown` marks this one."""
        return [
            {"build_id": commit.id, "recipe": commit.info.get("recipe"), "created_at": commit.info.get("created_at"),
             "shown": commit.id == self.build}
            for commit in reversed(self.published)
        ]  # fmt: skip

    # --- samples

    def samples(self, asked: Mapping[str, str], offset: int = 0, limit: int = 20) -> dict[str, Any]:
        """A page of matching samples, their total number, and the counts for each other choice.

        `asked` holds one value per facet, words to search for as `q`, and one of ORDERS as `order`.
        """
        where, params = conditions(asked, FACETS)
        total = self.rows(f"select count(*) as n from s where {where}", *params)[0]["n"]
        ids = self.rows(
            f"select sample_id from s where {where} order by {ORDERS.get(asked.get('order', ''), 'sample_id')} limit ? offset ?",
            *params,
            limit,
            offset,
        )
        names = [row["sample_id"] for row in ids]
        return {"total": total, "offset": offset, "samples": self.with_parts(names), "facets": self.facets(asked)}

    def facets(self, asked: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
        counts = {}
        for facet in FACETS:
            where, params = conditions({key: value for key, value in asked.items() if key != facet}, FACETS)
            source = "s join c using (sample_id)" if facet == "corpus" else "s"
            counts[facet] = self.rows(
                f"""select coalesce({facet}::varchar, '') as value, count(*) as n from {source} where {where}
                    group by 1 order by {"1" if facet == "demos" else "n desc, 1"}""",
                *params,
            )
        return counts

    def with_parts(self, names: list[str]) -> list[dict[str, Any]]:
        """Samples with their parts, in the order of the names."""
        heads = {row["sample_id"]: row for row in self.rows(
            """select sample_id, task, split, holdout, language, licence, template, demos, seed, shard, meta,
                      n_parts, corpora
               from s where sample_id in (select unnest(?))""", names)}  # fmt: skip
        for head in heads.values():
            head |= {"meta": json.loads(head["meta"] or "{}"), "parts": []}
        for part in self.rows(
            """select p.sample_id, p.position, p.turn, p.role, p.modality, p."text", p.asset_id, p.icl_role, p.target,
                      a.caption, a.licence, a.corpus, a.duration_s, a.op
               from p left join a using (asset_id) where p.sample_id in (select unnest(?)) order by p.sample_id, p.position""",
            names,
        ):
            if part["modality"] in EXTENSIONS:
                part["media"] = address(part["asset_id"], part["modality"])
            heads[part.pop("sample_id")]["parts"].append(part)
        return [heads[name] for name in names if name in heads]

    def sample(self, sample_id: str) -> dict[str, Any]:
        """One sample with its parts. Raises BrowseError if there is none."""
        matches = self.with_parts([sample_id])
        if not matches:
            raise BrowseError(f"no sample {sample_id} in build {self.build}")
        return matches[0]

    def lineage(self, sample_id: str) -> dict[str, Any]:
        """A sample, its parts with the lineage of their assets, and its planner. Raises BrowseError if there is none."""
        sample = self.sample(sample_id)
        parts, seen = sample.pop("parts"), {}  # type: list[dict[str, Any]], dict[str, dict[str, Any]]
        for part in parts:
            if part["asset_id"]:
                part["asset"] = asset_lineage(self.rows, part["asset_id"], seen)
        for asset in seen.values():  # rows with equal keys come in any order
            asset.get("operators", []).sort(
                key=lambda run: (run["stage"] != "ingest", run["op"], run["op_version"], run["params"])
            )
        planned = self.rows(
            "select op, op_version, params from op_runs where stage = 'plan' and op = ?", sample["task"]
        )
        return {"sample": sample, "parts": parts, "planned_by": planned}

    # --- what was rejected, and figures

    def rejects(self, asked: Mapping[str, str], offset: int = 0, limit: int = 50) -> dict[str, Any]:
        where, params = conditions(asked, REJECT_FACETS, "r")
        rows = self.rows(
            f"""select stage, op, subject, reason, score, threshold, error, modality, asset_id, place
                from r where {where} order by n limit ? offset ?""",
            *params, limit, offset,
        )  # fmt: skip
        for row in rows:
            asset_id, modality = row.pop("asset_id"), row["modality"]
            if modality in EXTENSIONS:
                row["media"] = address(asset_id, modality)
        facets = {}
        for facet in REJECT_FACETS:
            others, values = conditions({k: v for k, v in asked.items() if k != facet}, REJECT_FACETS, "r")
            query = f"select coalesce({facet}, '') as value, count(*) as n from r where {others} group by 1 order by n desc, 1"
            facets[facet] = self.rows(query, *values)
        total = self.rows(f"select count(*) as n from r where {where}", *params)[0]["n"]
        return {"total": total, "offset": offset, "rejects": rows, "facets": facets}

    def statistics(self) -> dict[str, Any]:
        counts = {
            "Samples by task": "select task as label, split as part, count(*) as n from s group by all",
            "Samples by language": "select language as label, split as part, count(*) as n from s group by all",
            "Samples by licence": "select licence as label, split as part, count(*) as n from s group by all",
            "Samples by demonstrations": "select demos::varchar as label, split as part, count(*) as n from s group by all",
            "Works by corpus": "select corpus as label, modality as part, count(*) as n from a where op is null group by all",
            "Media made, by operator": "select op as label, modality as part, count(*) as n from a where op is not null group by all",
        }
        bars = [{"title": title, "rows": self.rows(f"{query} order by label, part")} for title, query in counts.items()]
        histograms = self.rows(
            f"""with bounds as (
                    select op, name, min(value) as low, max(value) as high, count(*) as n from g where isfinite(value)
                    group by all having max(value) > min(value)),
                binned as (
                    select op, name, low, high, least(((value - low) / (high - low) * {BINS})::integer, {BINS - 1}) as bin
                    from g join bounds using (op, name) where isfinite(value))
                select op, name, low, high, bin, count(*) as n from binned group by all order by op, name, bin"""
        )
        return {"bars": bars, "histograms": histograms}

    def ledger(self) -> list[dict[str, Any]]:
        return self.rows(
            """select stage, op, op_version, params, sum(rows_in)::bigint as rows_in, sum(rows_out)::bigint as rows_out,
                      sum(rejected)::bigint as rejected, sum(failed)::bigint as failed, round(sum(seconds), 1) as seconds
               from op_runs group by stage, op, op_version, params
               order by list_position(['ingest', 'enrich', 'select', 'plan', 'write'], stage), op, params"""
        )

    # --- media

    def medium(self, asset_id: str) -> tuple[bytes, str]:
        """The bytes of an asset, including rejected ones, and its media type. Raises BrowseError if it has none."""
        query = (
            'select modality, shard, "offset" as start, bytes from {} where asset_id = ? and shard is not null limit 1'
        )
        matches = self.rows(query.format("a"), asset_id) or self.rows(query.format("i"), asset_id)
        if not matches or matches[0]["modality"] not in EXTENSIONS:
            raise BrowseError(f"no medium {asset_id}")
        row = matches[0]
        try:
            data = self.store.read_ranges(row["shard"], [(row["start"], row["start"] + row["bytes"])])[0]
        except OSError as error:
            raise BrowseError(f"the medium {asset_id} cannot be read from {row['shard']}: {error.strerror}") from error
        return data, MEDIA_TYPES[EXTENSIONS[row["modality"]]]


def address(asset_id: str, modality: str) -> str:
    """The relative URL of a medium, on the server and in the folder."""
    return f"media/{asset_id}.{EXTENSIONS[modality]}"


def conditions(asked: Mapping[str, str], facets: tuple[str, ...], table: str = "s") -> tuple[str, list[object]]:
    """SQL for the requested choices: one value per facet, and words to search for in `q`."""
    parts, params = ["true"], []  # type: list[str], list[object]
    for facet in facets:
        if facet not in asked:
            continue
        if facet == "corpus":
            parts.append("sample_id in (select sample_id from c where corpus = ?)")
        else:
            parts.append(f"coalesce({table}.{facet}::varchar, '') = ?")
        params.append(asked[facet])
    if words := asked.get("q", "").strip().lower():
        if table == "s":
            parts.append("(starts_with(sample_id, ?) or contains(words, ?))")
            params += [words, words]
        else:
            parts.append("contains(lower(concat_ws(chr(10), subject, place, reason, error)), ?)")
            params.append(words)
    return " and ".join(parts), params
