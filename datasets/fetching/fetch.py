"""Fetches a whole list: distributes shards on Ray and counts the results."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from codi2_datasets.fetching import status
from codi2_datasets.fetching.listing import Row, slices
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.shard import Job, fetch_shards, spec_of
from codi2_datasets.runtime.progress import progress
from codi2_datasets.runtime.ray_executor import cluster_when_needed, ray_map
from codi2_storage.store import Store

FEW = 1  # groups of rows that are fetched in this process rather than on Ray
GROUP_ROWS = 1_000  # rows that a worker fetches at once, as several shards in parallel
AT_A_CORE = 2  # workers: while one waits for its last slow hosts, another uses the core


def fetch_list(rows: Iterable[Row], out: str, options: Options, workers: int = 2) -> dict[str, int]:
    """Fetch every row that is not settled yet. Returns the number of rows by status, most first, as in `stats.json`.

    Shards left by an earlier, longer list are removed; files that the fetcher did not write are kept.
    """
    store, total, names = Store(out), Counter[str](), set[str]()

    def groups() -> Iterator[list[Job]]:
        source = slices(rows, options.shard_rows)
        while group := list(islice(source, max(1, GROUP_ROWS // options.shard_rows))):
            names.update(piece.name for piece in group)
            yield [Job(store, piece, options) for piece in group]

    with cluster_when_needed(workers), progress("fetch", None, "rows") as advance:
        for group, results in ray_map(fetch_shards, groups(), AT_A_CORE * workers, few=FEW, cpus=1 / AT_A_CORE):
            for counts in results:
                total.update(counts)
            advance(sum(len(job.rows.rows) for job in group))
    for name in store.list():
        stem, _, kind = name.rpartition(".")
        if kind == "parquet" and stem not in names and spec_of(store.read_bytes(name)) is not None:
            store.remove(f"{stem}.tar")
            store.remove(name)
    asked = total.pop("asked", 0)
    statuses = dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
    store.write_bytes("stats.json", json.dumps(statuses, indent=1).encode())
    later = sum(count for name, count in statuses.items() if status.transient(name))
    summary = f"{asked:,} of {sum(statuses.values()):,} rows asked for; {later:,} may come another day"
    print(summary, file=sys.stderr, flush=True)
    return statuses
