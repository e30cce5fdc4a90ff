"""Step 5: the plan -> WebDataset shards. Each shard is one task on Ray, and none where it is there already."""

from __future__ import annotations

import time
from collections.abc import Iterator

import duckdb

from codi2_datasets.engine import spread
from codi2_datasets.progress import progress
from codi2_datasets.recipe import Recipe
from codi2_datasets.shards import VERSION, Medium, Receipt, ShardPlan, read_receipt, write_shard
from codi2_datasets.steps.select import count
from codi2_storage.store import Store


def plan_shards(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """`planned_shards`, and each sample's place: shuffled by hash within its task and split, then cut."""
    connection.execute(
        f"""create temp table placed as
            with ordered as (
                select sample_id, task, split, row_number() over (partition by task, split order by sample_id) - 1 as n
                from planned_samples)
            select *, n // {recipe.shards.samples} as shard_index from ordered;
            create temp table described as
            select sample_id, sha256(string_agg(concat_ws(chr(30), position, turn, role, modality,
                       coalesce(asset_id, ''), coalesce(text, ''), coalesce(icl_role, ''), target), chr(31)
                       order by position)) as content
            from planned_parts group by sample_id;
            create temp table planned_shards as
            select p.task, p.split, p.shard_index, count(*) as samples,
                   sha256('{VERSION}' || string_agg(concat_ws(chr(31), s.sample_id, s.holdout, s.licence, s.seed,
                          s.meta, d.content), chr(29) order by p.n)) as plan_hash
            from placed p join planned_samples s using (sample_id) join described d using (sample_id)
            group by p.task, p.split, p.shard_index;
            alter table planned_shards add column shard varchar;
            update planned_shards set shard = format(
                'shards/{{}}/{{}}-{{:05d}}-{{}}.tar', task, split, shard_index::bigint, plan_hash[1:16]);
            create or replace temp table planned_samples as
            select s.* replace (h.shard as shard), p.n as place
            from planned_samples s join placed p using (sample_id) join planned_shards h
                on h.task = p.task and h.split = p.split and h.shard_index = p.shard_index"""
    )


def shard_plans(connection: duckdb.DuckDBPyConnection, store: Store, names: list[str]) -> Iterator[ShardPlan]:
    """What a worker needs to write each shard, one at a time."""
    for name in names:
        samples = rows(connection, "select * from planned_samples where shard = ? order by place", name)
        parts = rows(
            connection,
            """select p.* from planned_parts p join planned_samples s using (sample_id)
               where s.shard = ? order by s.place, p.position""",
            name,
        )
        media = rows(
            connection,
            """with used as (
                   select distinct asset_id from planned_parts p join planned_samples s using (sample_id)
                   where s.shard = ? and p.modality <> 'text'),
               everything as (select asset_id from used union
                              select unnest(inputs) from derived where asset_id in (select asset_id from used))
               select asset_id, modality, shard, coalesce("offset", 0) as "offset", coalesce(bytes, 0) as bytes,
                      null as op, '{}' as params, []::varchar[] as inputs
               from selected where asset_id in (select asset_id from everything)
               union all
               select asset_id, modality, null, 0, 0, op, params, inputs from derived
               where asset_id in (select asset_id from used) order by 1""",
            name,
        )
        inputs = tuple(Medium(**{**medium, "inputs": tuple(medium["inputs"])}) for medium in media)
        yield ShardPlan(store, name, tuple(samples), tuple(parts), inputs)


def rows(connection: duckdb.DuckDBPyConnection, query: str, *params: object) -> list[dict]:
    return connection.execute(query, list(params)).to_arrow_table().to_pylist()


def write(
    connection: duckdb.DuckDBPyConnection, store: Store, build_id: str, workers: int
) -> tuple[list[Receipt], int]:
    """Write what is not there yet. Returns a receipt for every shard, in order, and the number written now."""
    start = time.perf_counter()
    names = [n for (n,) in connection.execute("select shard from planned_shards order by shard").fetchall()]
    receipts = {name: receipt for name in names if (receipt := read_receipt(store, name))}
    todo = [name for name in names if name not in receipts]
    if todo:
        samples = count(connection, "planned_samples")
        with progress("write", samples, "samples") as advance:
            advance(sum(receipt.samples for receipt in receipts.values()))
            for plan, receipt in spread(write_shard, shard_plans(connection, store, todo), workers):
                receipts[plan.name] = receipt
                advance(len(plan.samples))
    ordered = [receipts[name] for name in names]
    failed = [{"subject": row["sample_id"], "error": row["error"]} for receipt in ordered for row in receipt.failed]
    total = count(connection, "planned_samples")
    connection.execute(
        "insert into ledger values (?, 'write', 'webdataset', ?, '{}', ?, ?, 0, ?, ?)",
        [build_id, VERSION, total, total - len(failed), len(failed), time.perf_counter() - start],
    )
    for row in failed:
        connection.execute(
            """insert into rejected by name select ? as build_id, ? as subject, 'write' as stage,
               'webdataset' as op, 'media missing' as reason, ? as error""",
            [build_id, row["subject"], row["error"]],
        )
    return ordered, len(todo)
