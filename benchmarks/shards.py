"""How much of writing shards is more than reading media and writing tars? Both measured side by side in one run.

usage: python benchmarks/shards.py ROOT      (a root with a published build, as `make demo` leaves in ./data)
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
import time

import pyarrow as pa

from codi2_datasets.formats.tar import add_member
from codi2_datasets.publishing.shards import ShardPlan, gather, media_of, write_shard
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

SHARDS = 8


def plans(store: Store, out: Store) -> list[ShardPlan]:
    """The plans of some image shards of the latest build, to be written elsewhere."""
    with Catalog(store).connect() as connection:

        def rows(query: str, *params: object) -> pa.Table:
            return connection.execute(query, list(params)).to_arrow_table()

        names = rows(
            "select shard from shards where task in ('text_to_image', 'image_editing') order by shard limit ?", SHARDS
        )["shard"].to_pylist()
        found = []
        for name in names:
            parts = rows(
                """select p.* from parts p join samples s using (sample_id) where s.shard = ?
                   order by sample_id, position""",
                name,
            )
            media = rows(
                """select distinct a.asset_id, a.modality, a.shard, a."offset", a.bytes, a.op,
                          coalesce(a.params, '{}') as params, coalesce(a.inputs, []) as inputs
                   from assets a join parts p using (asset_id) join samples s using (sample_id)
                   where s.shard = ? order by 1""",
                name,
            )
            samples = rows("select * from samples where shard = ? order by sample_id", name)
            found.append(ShardPlan(out, name, samples, parts, media))
        return found


def bare(store: Store, plan: ShardPlan, out: Store) -> None:
    """Read the same media and write a tar of as many members, with nothing else done."""
    data, _ = gather(store, media_of(plan))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in plan.samples.to_pylist():
            add_member(archive, f"{sample['sample_id']}.json", b" " * 900)
        for part in plan.parts.to_pylist():
            if part["asset_id"]:
                add_member(archive, f"{part['sample_id']}.{part['position']:03d}.webp", data[part["asset_id"]])
    out.write_bytes(plan.name, buffer.getvalue())


class Linked(Store):
    """Reads from one store, writes to another."""

    def __init__(self, source: Store, out: Store) -> None:
        super().__init__(out.root)
        self.source = source

    def read_ranges(self, name, ranges):
        return self.source.read_ranges(name, ranges)


def main(root: str) -> None:
    store = Store(root)
    times = {"bare": 0.0, "write_shard": 0.0}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        prepared = plans(store, Linked(store, Store(one)))
        samples = sum(len(plan.samples) for plan in prepared)
        for plan in prepared:  # interleaved, so that both meet the same machine
            start = time.perf_counter()
            bare(store, plan, Store(two))
            middle = time.perf_counter()
            write_shard(plan)
            times["bare"] += middle - start
            times["write_shard"] += time.perf_counter() - middle
    for name, seconds in times.items():
        print(f"{name:<12} {samples / seconds:10,.0f} samples/s")
    print(f"ratio        {times['bare'] / times['write_shard']:10.2f} of the bare loop's speed")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
