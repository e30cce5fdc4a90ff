"""Step 6: checks the build and commits it in one atomic write."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from codi2_datasets.publishing.shards import Receipt
from codi2_storage.build_cache import BuildCache
from codi2_storage.catalog.sql import identifier
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store
from codi2_storage.tables import TABLES

# Each must be zero in a published build.
CHECKS = {
    "parts whose asset is unknown": """
        select count(*) from planned_parts where asset_id is not null
        and asset_id not in (select asset_id from selected union all select asset_id from derived)""",
    "train parts that show held-out media": """
        select count(*) from planned_parts p join planned_samples s using (sample_id)
        join (select asset_id, split from selected union all select asset_id, split from derived) a using (asset_id)
        where s.split = 'train' and a.split <> 'train'""",
    "test or validation targets that occur in train": """
        with seen as (select distinct p.asset_id from planned_parts p join planned_samples s using (sample_id)
                      where s.split = 'train' and p.modality <> 'text')
        select count(*) from planned_parts p join planned_samples s using (sample_id)
        where s.split <> 'train' and (p.target or p.icl_role = 'demo_output' or s.holdout = 'concept')
        and p.asset_id in (select asset_id from seen)""",
    "demonstrations that show the query or the target": """
        select count(*) from planned_parts d join planned_parts q using (sample_id)
        where d.icl_role like 'demo%' and q.icl_role in ('query', 'target') and d.asset_id = q.asset_id""",
    "demonstrations that are near-duplicates of the query or the target": """
        with near as (select p.*, s.near from planned_parts p join selected s using (asset_id) where p.modality <> 'text')
        select count(*) from near d join near q using (sample_id)
        where d.icl_role like 'demo%' and q.icl_role in ('query', 'target') and d.near = q.near""",
    "ledger lines that do not balance": """
        select count(*) from (select rows_in, rows_out, rejected, failed from ledger union all
                              select rows_in, rows_out, rejected, failed from op_runs)
        where rows_in <> rows_out + rejected + failed""",
    "rejects missing from the ledger": """
        select abs((select count(*) from rejected) + (select count(*) from rejects)
                   - (select sum(rejected + failed) from ledger) - (select sum(rejected + failed) from op_runs))""",
}


class BuildError(ValueError):
    """The build violates an invariant and is not published."""


def check(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Run every check. Returns the counts, all zero. Raises BuildError for the first check that fails."""
    counts = {}
    for name, query in CHECKS.items():
        row = connection.execute(query).fetchone()
        counts[name] = int(row[0]) if row and row[0] is not None else 0
        if counts[name]:
            raise BuildError(f"the build is not published: {counts[name]:,} {name}")
    return counts


def publish(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    build: dict[str, Any],
    uses: list[str],
    receipts: list[Receipt],
    cache: BuildCache,
) -> None:
    """Commit the build's tables. `build` is its row of `builds`, without the columns that are only known now."""
    build_id = build["build_id"]  # differs from the id in the steps if rows failed for now
    connection.execute(
        """create temp table places (asset_id varchar, shard varchar, member varchar, "offset" bigint, bytes bigint,
           duration_s double)"""
    )
    places = [{**row, "shard": receipt.shard} for receipt in receipts for row in receipt.derived]
    if places:
        connection.register("made", pa.Table.from_pylist(places))
        connection.execute("insert into places by name select * from made")
        connection.unregister("made")
    connection.execute(
        """create temp table written as
           select * from planned_samples
           where sample_id not in (select subject from rejected where stage = 'write')"""
    )
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    samples = connection.execute("select count(*) from written").fetchone() or (0,)
    row = {**build, "status": "published", "samples": samples[0], "created_at": now}
    shards = [
        {"build_id": build_id, "shard": r.shard, "samples": r.samples, "bytes": r.bytes, "sha256": r.sha256}
        for r in receipts
    ]
    for shard, (task, split, plan_hash) in zip(
        shards,
        connection.execute("select task, split, plan_hash from planned_shards order by shard").fetchall(),
        strict=True,
    ):
        shard |= {"task": task, "split": split, "plan_hash": plan_hash}
    asset_columns = ", ".join(map(identifier, TABLES["assets"].names))
    tables = {
        "plan": "select * from planned_parts order by sample_id, position",
        "parts": """select * from planned_parts where sample_id in (select sample_id from written)
                    order by sample_id, position""",
        "samples": "select * from written order by task, split, sample_id",
        "rejects": "select * from rejected order by stage, op, subject",
        "op_runs": "select * from ledger",
        "assets": f"""select {asset_columns} from selected union all
                      select {asset_columns} from (
                          select d.* replace (p.shard as shard, p.member as member, p."offset" as "offset",
                                              p.bytes as bytes, p.duration_s as duration_s)
                          from derived d join places p using (asset_id)
                          qualify row_number() over (partition by asset_id order by p.shard, p."offset") = 1)
                      order by asset_id""",
    }
    named = "select * replace (? as build_id) from ({})"
    info = {"created_at": now, "recipe": build["recipe"], "cached": sorted(cache.used)}
    with Writer(store, build_id, "build", uses=uses, info=info) as writer:
        writer.append("builds", [row])
        writer.append("shards", shards)
        planned = connection.execute(named.format(tables["plan"]), [build_id]).to_arrow_table()
        writer.append("plan", planned)
        if not any(receipt.failed for receipt in receipts):
            writer.append("parts", planned)
            del tables["parts"]
        del tables["plan"]
        for table, query in tables.items():
            own, bound = (query, []) if table == "assets" else (named.format(query), [build_id])
            writer.append(table, connection.execute(own, bound).to_arrow_table())


def statistics(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Summary counts as plain data."""

    def table(query: str) -> list[dict]:
        return connection.execute(query).to_arrow_table().to_pylist()

    return {
        "samples": table(
            """select task, split, holdout, count(*) as samples, round(avg(n_parts), 2) as parts,
               round(avg(n_demos), 2) as demos from planned_samples group by all order by all"""
        ),
        "assets": table(
            """select corpus, modality, split, count(*) as assets, sum(bytes)::bigint as bytes,
               round(sum(duration_s), 1) as seconds from selected group by all order by all"""
        ),
        "licences": table("select licence, count(*) as samples from planned_samples group by all order by all"),
        "rejects": table(
            """select stage, op, reason, count(*) as rows from (select * from rejected union all select * from rejects)
               group by all order by all"""
        ),
    }


def write_statistics(store: Store, build_id: str, counts: dict[str, Any]) -> str:
    path = f"builds/{build_id}/statistics.json"
    store.write_bytes(path, json.dumps(counts, indent=1, ensure_ascii=False).encode())
    return path
