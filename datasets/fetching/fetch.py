"""A whole list fetched: shards spread over Ray, what came of them counted."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable

from codi2_datasets.engine import cluster_when_needed, spread
from codi2_datasets.fetching import status
from codi2_datasets.fetching.listing import Row, slices
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.shard import Job, fetch_shard
from codi2_datasets.progress import progress
from codi2_storage.store import Store

FEW = 1  # shards that are fetched here rather than on Ray


def fetch_list(rows: Iterable[Row], out: str, options: Options, workers: int = 2) -> dict[str, int]:
    """Fetch every row that is not settled yet. Returns the rows by status, most first, as `stats.json` keeps them.

    Shards of an earlier, longer list are removed: `out` holds this list and nothing else.
    """
    store, total, names = Store(out), Counter[str](), set[str]()

    def jobs() -> Iterable[Job]:
        for piece in slices(rows, options.shard_rows):
            names.add(piece.name)
            yield Job(store, piece, options)

    with cluster_when_needed(workers), progress("fetch", None, "rows") as advance:
        for job, counts in spread(fetch_shard, jobs(), workers, few=FEW):
            total.update(counts)
            advance(len(job.rows.rows))
    for name in store.list():
        if (
            name.endswith((".tar", ".parquet"))
            and name.rpartition(".")[0].isdecimal()
            and name.rpartition(".")[0] not in names
        ):
            store.remove(name)
    asked = total.pop("asked", 0)
    found = dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
    store.write_bytes("stats.json", json.dumps(found, indent=1).encode())
    later = sum(count for name, count in found.items() if status.transient(name))
    print(
        f"{asked:,} of {sum(found.values()):,} rows asked for; {later:,} may come another day",
        file=sys.stderr,
        flush=True,
    )
    return found
