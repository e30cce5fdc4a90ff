"""Opt-out: remove a work and every sample that shows it, as query, target or demonstration, from the dataset.

A new build replaces the latest one: its tables without the removed rows, and only the affected shards written again,
their other samples byte for byte equal. Opt-outs are recorded permanently, and later builds honor them.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from codi2_datasets.formats.hashing import digest, sha256
from codi2_datasets.formats.member_padding import MODALITIES, pad
from codi2_datasets.formats.sample import Sample
from codi2_datasets.formats.tar import add_member
from codi2_datasets.publishing import describe_build
from codi2_datasets.publishing.shards import Receipt, receipt_json, receipt_path
from codi2_datasets.runtime.progress import progress
from codi2_datasets.steps.write import PLAN_HASH, SHARD_NAME, members_of_tasks
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.sql import literal
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.coordination.active_runs import wait_for_collector
from codi2_storage.coordination.leases import lease
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


def forget(root: str, names: list[str]) -> str:
    """Remove source rows, by id or as 'corpus:locator', from the latest build. Returns the id of the new build.

    Raises UsageError if there is no published build or no such source row.
    """
    store = Store(root)
    with lease(store, "forget", about="an opt-out"):
        wait_for_collector(store)
        return leave_out(store, names)


def forget_summary(root: str, build_id: str) -> str:
    """A one-line summary of what an opt-out removed from the build before it."""
    catalog = Catalog(root)
    before = catalog.sql("select parent from builds", build=build_id).to_pylist()[0]["parent"]
    query = """select (select count(*) from forgotten) as rows, (select count(*) from assets) as assets,
               (select count(*) from samples) as samples"""
    old, new = (catalog.sql(query, build=name).to_pylist()[0] for name in (before, build_id))
    assets, samples = old["assets"] - new["assets"], old["samples"] - new["samples"]
    return f"left out: {assets:,} assets and {samples:,} samples; {new['samples']:,} samples stay, {new['rows']:,} source rows are forgotten for good"


def leave_out(store: Store, names: list[str]) -> str:
    catalog = Catalog(store)
    old = catalog.latest_build()
    if old is None:
        raise UsageError(f"no published build under {store.root}")
    with catalog.connect(old) as connection:
        gone = find(connection, names)
        build_id = digest([old, sorted(row["source_row_id"] for row in gone)])[:12]
        record(store, gone)
        if committed(store, build_id, "build") is None:
            mark(connection, gone)
            shards, places = rewrite(connection, store)
            publish(connection, store, catalog, old, build_id, shards, places)
    describe_build(store, build_id)
    return build_id


def find(connection: duckdb.DuckDBPyConnection, names: list[str]) -> list[dict[str, Any]]:
    """Rows for the table `forgotten`: the named source rows with their assets.

    Raises UsageError if a name matches none.
    """
    rows_by_id: dict[tuple[str, str], dict[str, Any]] = {}
    for name in names:
        rows = connection.execute(
            """select s.source_row_id, i.asset_id, s.corpus, s.locator, s.sha256
               from source_rows s left join ingested i using (source_row_id)
               where s.source_row_id = ? or s.corpus || ':' || s.locator = ?""",
            [name, name],
        ).to_arrow_table()
        if not len(rows):
            raise UsageError(
                f"no source row {name!r}; give its id, or corpus:locator, as the table source_rows has them"
            )
        rows_by_id |= {(row["source_row_id"], row["asset_id"]): row for row in rows.to_pylist()}
    return [rows_by_id[key] for key in sorted(rows_by_id, key=str)]


def record(store: Store, gone: list[dict[str, Any]]) -> None:
    """Record the opt-out permanently, for all later builds."""
    commit_id = f"forget-{digest(gone)[:16]}"
    if committed(store, commit_id, "forget") is None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with Writer(store, commit_id, "forget") as writer:
            writer.append("forgotten", [{**row, "created_at": now} for row in gone])


def mark(connection: duckdb.DuckDBPyConnection, gone: list[dict[str, Any]]) -> None:
    """Create the tables `lost_assets` (derived assets included), `lost_samples`, and `renamed`: new names of affected
    shards.
    """
    connection.register("gone", pa.table({"asset_id": pa.array([row["asset_id"] for row in gone], pa.string())}))
    connection.execute(
        f"""create table lost_assets as
            select asset_id from assets where asset_id in (select asset_id from gone)
            union select asset_id from (select asset_id, unnest(inputs) as input from assets)
            where input in (select asset_id from gone);
            create table lost_samples as
            select distinct sample_id, s.shard from parts p join samples s using (sample_id)
            where p.asset_id in (select asset_id from lost_assets);
            create table task_members as {members_of_tasks("samples", "parts")};
            create table renamed as
            with left_over as (
                select s.* from samples s where shard in (select shard from lost_samples)
                and sample_id not in (select sample_id from lost_samples)),
            hashed as (
                select h.shard as old_shard, h.task, h.split, count(s.sample_id) as samples, any_value(members) as members,
                       split_part(split_part(h.shard, '/', 3), '-', 2)::bigint as shard_index,
                       {PLAN_HASH} as plan_hash
                from (select distinct shard, task, split from shards) h join left_over s using (shard)
                left join task_members m on m.task = h.task
                group by all)
            select *, {SHARD_NAME} as shard from hashed"""
    )


def rewrite(connection: duckdb.DuckDBPyConnection, store: Store) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the affected shards without the lost samples.

    Returns their rows of `shards`, and the new places of derived media.
    """
    lost = {name for (name,) in connection.execute("select sample_id from lost_samples").fetchall()}
    derived = {name for (name,) in connection.execute("select asset_id from assets where op is not null").fetchall()}
    todo = connection.execute(
        "select old_shard, shard, task, split, plan_hash, members from renamed order by shard"
    ).fetchall()
    rows, places = [], []
    with progress("rewrite", len(todo), "shards") as advance:
        for old, new, task, split, plan_hash, members in todo:
            content, samples, new_places = without(store.read_bytes(old), lost, derived, members or [])
            receipt = Receipt(new, samples, len(content), sha256(content), new_places, [])
            store.write_bytes(new, content)
            store.write_bytes(receipt_path(new), receipt_json(receipt))
            row = {"shard": new, "task": task, "split": split, "plan_hash": plan_hash, "samples": samples}
            rows.append({**row, "bytes": receipt.bytes, "sha256": receipt.sha256})
            places += [{**place, "shard": new} for place in new_places]
            advance(1)
    return rows, places


def without(
    shard: bytes, lost: set[str], derived: set[str], members: Sequence[str]
) -> tuple[bytes, int, list[dict[str, Any]]]:
    """A shard without some samples: its bytes, the number of samples left, and the places of derived media in it.

    `members`: the members of the shard's task. If other samples come first now, they are padded to hold all of them.
    """
    buffer, samples, sample = io.BytesIO(), 0, None
    places: dict[str, dict[str, Any]] = {}
    own: dict[str | None, str | None] = {}
    every = {name: MODALITIES[name.rpartition(".")[2]] for name in members}
    with (
        tarfile.open(fileobj=io.BytesIO(shard)) as source,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as target,
    ):
        for member in source:
            key, _, rest = member.name.partition(".")
            if key in lost:
                continue
            data = source.extractfile(member).read()  # type: ignore[union-attr]
            if rest == "json":
                if sample is not None:
                    pad(target, samples - 1, sample, every)
                samples, sample = samples + 1, Sample.from_json(data)
                own = {part.part: part.asset_id for part in sample.parts()}
            elif rest not in own:  # a placeholder
                continue
            asset_id, offset = own.get(rest), target.offset + 512
            add_member(target, member.name, data)
            if asset_id in derived and asset_id not in places:
                places[asset_id] = {"asset_id": asset_id, "member": member.name, "offset": offset, "bytes": len(data)}
        if sample is not None:
            pad(target, samples - 1, sample, every)
    return buffer.getvalue(), samples, list(places.values())


def publish(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    catalog: Catalog,
    old: str,
    build_id: str,
    shards: list[dict[str, Any]],
    places: list[dict[str, Any]],
) -> None:
    """Commit the build that replaces the old one."""
    schema = pa.schema([("asset_id", pa.string()), ("shard", pa.string()), ("member", pa.string()),
                        ("offset", pa.int64()), ("bytes", pa.int64())])  # fmt: skip
    connection.register("new_places", pa.Table.from_pylist(places, schema=schema))
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    build = literal(build_id)
    own = f"* replace ({build} as build_id)"
    kept_sample = "sample_id not in (select sample_id from lost_samples)"
    # a derived asset that lay in a removed sample is looked up in the rewritten shards; derived assets that no sample
    # shows any more are left out
    tables = {
        "samples": f"""select s.* replace ({build} as build_id, coalesce(r.shard, s.shard) as shard)
                       from samples s left join renamed r on r.old_shard = s.shard where {kept_sample}
                       order by task, split, sample_id""",
        "parts": f"select {own} from parts where {kept_sample} order by sample_id, position",
        "plan": f"select {own} from plan where {kept_sample} order by sample_id, position",
        "assets": """with left_over as (
                         select a.*, a.shard in (select shard from lost_samples) as moved from assets a
                         where a.asset_id not in (select asset_id from lost_assets))
                     select a.* exclude (moved)
                            replace (coalesce(p.shard, a.shard) as shard, coalesce(p.member, a.member) as member,
                                     coalesce(p."offset", a."offset") as "offset", coalesce(p.bytes, a.bytes) as bytes)
                     from left_over a left join new_places p on p.asset_id = a.asset_id and a.moved
                     where a.op is null or not a.moved or p.shard is not null
                     qualify row_number() over (partition by a.asset_id order by p.shard) = 1 order by a.asset_id""",
        "shards": f"select {own} from shards where shard not in (select shard from lost_samples) order by shard",
        "rejects": f"""select {own} from rejects where build_id = {literal(old)}
                       union all by name select {build} as build_id, asset_id as subject, 'forget' as stage,
                           'assets' as op, 'its owner opted out' as reason from lost_assets
                       union all by name select {build} as build_id, sample_id as subject, 'forget' as stage,
                           'samples' as op, 'it showed a work whose owner opted out' as reason from lost_samples""",
        "op_runs": f"""select {own} from op_runs where build_id = {literal(old)}
                       union all by name select {build} as build_id, 'forget' as stage, 'assets' as op,
                           '1' as op_version, '{{}}' as params, count(*) as rows_in, count(*) - any_value(n) as rows_out,
                           any_value(n) as rejected, 0 as failed, 0.0 as seconds
                       from assets, (select count(*) as n from lost_assets)
                       union all by name select {build} as build_id, 'forget' as stage, 'samples' as op,
                           '1' as op_version, '{{}}' as params, count(*) as rows_in, count(*) - any_value(n) as rows_out,
                           any_value(n) as rejected, 0 as failed, 0.0 as seconds
                       from samples, (select count(*) as n from lost_samples)""",
    }
    contents = {name: connection.execute(query).to_arrow_table() for name, query in tables.items()}
    build = connection.execute("select * from builds where build_id = ?", [old]).to_arrow_table().to_pylist()[0]
    build |= {"build_id": build_id, "parent": old, "samples": len(contents["samples"]), "created_at": now}
    uses = next(commit.uses for commit in catalog.builds() if commit.id == old)
    with Writer(store, build_id, "build", uses=uses, info={"created_at": now, "recipe": build["recipe"]}) as writer:
        writer.append("builds", [build])
        writer.append("shards", [{**row, "build_id": build_id} for row in shards])
        for name, table in contents.items():
            writer.append(name, table)
