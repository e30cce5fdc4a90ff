"""Step 5: writes the plan as WebDataset shards. Each missing shard is one task on Ray; existing ones are reused."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from codi2_datasets.formats.sample import EXTENSIONS
from codi2_datasets.planning.tables import OF_PLAN, check_tables
from codi2_datasets.publishing.shards import VERSION, Receipt, ShardPlan, read_receipt, write_shard
from codi2_datasets.recipe_schema import Recipe
from codi2_datasets.runtime.progress import progress
from codi2_datasets.runtime.ray_executor import ray_map
from codi2_datasets.steps.ledger import count, ledger_line
from codi2_storage.catalog.sql import case, literal
from codi2_storage.store import Store

# SQL over the samples `s` of one shard: a hash of everything that determines its bytes; and its name, by task, split
# and hash
PLAN_HASH = f"""sha256('{VERSION}' || coalesce(array_to_string(any_value(members), ','), '') || string_agg(concat_ws(
                chr(31), s.sample_id, s.holdout, s.licence, s.seed, s.meta), chr(29) order by s.sample_id))"""
SHARD_NAME = "format('shards/{}/{}-{:05d}-{}.tar', task, split, shard_index::bigint, plan_hash[1:16])"

EXTENSION = case("modality", [(modality, literal(extension)) for modality, extension in EXTENSIONS.items()])


def members_of_tasks(samples: str, parts: str) -> str:
    """SQL: every member that samples of a task have, as (task, members), from these two tables."""
    return f"""select task, list_sort(list(distinct format('{{:03d}}.{{}}', position, {EXTENSION}))) as members
               from {parts} join {samples} using (sample_id) where modality <> 'text' group by task"""


def plan_shards(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Create `planned_shards` and assign samples to them: shards of a task and split are ranges of the samples' ids.

    The ids are hashes, so every shard is a random sample. Their number is a power of two, so that adding or removing a
    sample changes only the shard in whose range it falls. A sample's id depends on everything it shows, so the hash of
    a shard's sample rows identifies the shard.
    """
    check_tables(connection, *OF_PLAN)
    connection.execute(
        f"""create temp table sized as
            select task, split, pow(2, greatest(0, ceil(log2(count(*) / {recipe.shards.samples}))))::bigint as shards
            from planned_samples group by all;
            create temp table placed as
            select s.sample_id, s.task, s.split,
                   (('0x' || s.sample_id[1:8])::bigint * z.shards) >> 32 as shard_index
            from planned_samples s join sized z using (task, split);
            create temp table task_members as {members_of_tasks("planned_samples", "planned_parts")};
            create temp table planned_shards as
            select p.task, p.split, p.shard_index, count(*) as samples, any_value(members) as members,
                   {PLAN_HASH} as plan_hash
            from placed p join planned_samples s using (sample_id) left join task_members m on m.task = p.task
            group by p.task, p.split, p.shard_index;
            alter table planned_shards add column shard varchar;
            update planned_shards set shard = {SHARD_NAME};
            create or replace table planned_samples as
            select s.* replace (h.shard as shard)
            from planned_samples s join placed p using (sample_id) join planned_shards h
                on h.task = p.task and h.split = p.split and h.shard_index = p.shard_index"""
    )


def shard_plans(
    connection: duckdb.DuckDBPyConnection, store: Store, names: list[str], earlier: Mapping[str, str]
) -> Iterator[ShardPlan]:
    """The plan of each shard, one at a time: three sorted streams, split where the shard changes."""
    connection.register("wanted_shards", pa.table({"shard": pa.array(names, pa.string())}))
    connection.execute(
        """create or replace table todo as select * from wanted_shards;
           create or replace table writing as select sample_id, shard from planned_samples semi join todo using (shard);
           create or replace table needed as
           with used as (
               select distinct w.shard, p.asset_id from planned_parts p join writing w using (sample_id)
               where p.modality <> 'text')
           select shard, asset_id from used union
           select u.shard, unnest(d.inputs) from used u join derived d using (asset_id)"""
    )
    streams = [
        by_shard(connection, query, names)
        for query in (
            "select s.* from planned_samples s semi join todo using (shard) order by shard, sample_id",
            """select w.shard, p.* from planned_parts p join writing w using (sample_id)
               order by w.shard, p.sample_id, p.position""",
            """select n.shard as of_shard, a.asset_id, a.modality, a.shard, coalesce(a."offset", 0) as "offset",
                      coalesce(a.bytes, 0) as bytes, a.op, coalesce(a.params, '{}') as params,
                      coalesce(a.inputs, []) as inputs
               from needed n join (
                   select asset_id, modality, shard, "offset", bytes, null as op, null as params, null as inputs
                   from selected where modality <> 'text' union all by name
                   select asset_id, modality, null as shard, op, params, inputs from derived) a using (asset_id)
               order by of_shard, asset_id""",
        )
    ]
    members = dict(connection.execute("select shard, members from planned_shards").fetchall())
    for name in names:
        samples, parts, media = (next(stream) for stream in streams)
        media = media.drop_columns(["of_shard"])
        yield ShardPlan(store, name, samples, parts, media, tuple(members[name] or ()), earlier.get(range_of(name)))


def range_of(shard: str) -> str:
    """The name of a shard without the hash of its plan: its task, split and number."""
    return shard.rpartition("-")[0]


def by_shard(connection: duckdb.DuckDBPyConnection, query: str, names: list[str]) -> Iterator[pa.Table]:
    """The rows of each named shard in turn, from a query sorted by its column `of_shard`, else `shard`."""
    reader = connection.cursor().execute(query).to_arrow_reader(100_000)
    column = "of_shard" if "of_shard" in reader.schema.names else "shard"
    runs = runs_of(reader, column)
    ahead = next(runs, None)
    for name in names:
        held = []
        while ahead and ahead[0] == name:
            held.append(ahead[1])
            ahead = next(runs, None)
        yield pa.Table.from_batches(held, reader.schema)


def runs_of(reader: pa.RecordBatchReader, column: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Slices of equal values in a sorted column, with the value."""
    for batch in reader:
        names, start = batch.column(column), 0
        while start < len(batch):
            end = bisect_right(Keys(names), names[start].as_py(), lo=start)
            yield names[start].as_py(), batch.slice(start, end - start)
            start = end


class Keys(Sequence[str]):
    """An Arrow column as a sequence for bisect."""

    def __init__(self, column: pa.Array) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        return self.column[index].as_py()


def write(
    connection: duckdb.DuckDBPyConnection, store: Store, build_id: str, workers: int, earlier: Iterable[str] = ()
) -> tuple[list[Receipt], int]:
    """Write the missing shards. Returns a receipt for every shard, in order, and the number written now.

    `earlier`: the shards of the build before, from which samples that did not change are copied.
    """
    start = time.perf_counter()
    names = [n for (n,) in connection.execute("select shard from planned_shards order by shard").fetchall()]
    receipts = {name: receipt for name in names if (receipt := read_receipt(store, name))}
    todo = [name for name in names if name not in receipts]
    by_range = {range_of(name): name for name in earlier}
    if todo:
        samples = count(connection, "planned_samples")
        with progress("write", samples, "samples") as advance:
            advance(sum(receipt.samples for receipt in receipts.values()))
            for plan, receipt in ray_map(write_shard, shard_plans(connection, store, todo, by_range), workers):
                receipts[plan.name] = receipt
                advance(len(plan.samples))
    ordered = [receipts[name] for name in names]
    for name, receipt in zip(names, ordered, strict=True):
        if receipt.shard != name:  # samples are missing, and so the shard has another name
            for table in ("planned_shards", "planned_samples"):
                connection.execute(f"update {table} set shard = ? where shard = ?", [receipt.shard, name])
    failed = [{"subject": row["sample_id"], "error": row["error"]} for receipt in ordered for row in receipt.failed]
    total = count(connection, "planned_samples")
    ledger_line(connection, build_id, "write", "webdataset", {}, total, 0, start, VERSION, len(failed))
    for row in failed:
        connection.execute(
            """insert into rejected by name select ? as build_id, ? as subject, 'write' as stage,
               'webdataset' as op, 'media missing' as reason, ? as error""",
            [build_id, row["subject"], row["error"]],
        )
    return ordered, len(todo)
