"""The first query on a root of many partitions, before and after compaction: the figures of docs/scale.md.

    python benchmarks/compaction.py [--partitions 20000] [--root FOLDER]

Each partition has the commits of a real one: its rows of `ingested` with the ledger, and their signals with theirs. A fresh
process asks, as the first query of a day does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from codi2_datasets.runtime.progress import progress
from codi2_storage.commits.manifests import Commit, Manifest, Writer, write_manifest
from codi2_storage.gc.collector import collect
from codi2_storage.gc.compact import compact
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store

ROWS = 16  # of a partition: the number of files is what is measured
LATER = 4e9  # a moment at which all that was written here is old
ASK = """
import sys, time
start = time.perf_counter()
from codi2_storage.catalog.catalog import Catalog
imported = time.perf_counter()
found = Catalog(sys.argv[1]).sql("select count(*) as n, sum(bytes)::bigint as b from ingested").to_pylist()
print(time.perf_counter() - imported, found[0]["n"], found[0]["b"])
"""


def fill(store: Store, partitions: int) -> None:
    """Commits of so many partitions. Their tables hold the same rows: what is measured is how many files there are."""
    rows: list[dict[str, Any]] = [
        {"asset_id": f"{n:064x}", "corpus": "corpus", "modality": "image", "bytes": 100 + n, "caption": f"thing {n}"}
        for n in range(ROWS)
    ]
    run = {"stage": "ingest", "op": "normalise", "rows_in": ROWS, "rows_out": ROWS}
    signals = [{"asset_id": row["asset_id"], "op": "o", "name": "ink", "value": 0.5} for row in rows]
    tables = {
        table: (store.read_bytes(made.path), made)
        for table, content in (("ingested", rows), ("op_runs", [run]), ("signals", signals))
        if (made := write_manifest(store, "once", table, content))
    }
    names = []
    with progress("fill", partitions, "partitions") as advance:
        for number in range(partitions):
            name = f"corpus-p{number:016x}"
            about = {
                name: {"corpus": "corpus", "modalities": ["image"]},
                f"{name}-sig": {"measures": name, "operators": []},
            }
            for (commit_id, info), table in zip(about.items(), ("ingested", "signals"), strict=True):
                files = []
                for kind in (table, "op_runs"):
                    content, made = tables[kind]
                    path = f"catalog/{kind}/build={commit_id}/{number:032x}.parquet"
                    store.write_bytes(path, content)
                    files.append(Manifest(kind, path, made.rows, made.sha256))
                store.write_bytes(
                    f"catalog/commits/ingest/{commit_id}.json", Commit(commit_id, "ingest", files, info=info).to_json()
                )
                names.append(commit_id)
            advance(1)
    with Writer(store, "build", "build", uses=names, info={"created_at": "1", "recipe": "r"}) as writer:
        writer.append("builds", [{"build_id": "build", "recipe": "r"}])


def first_query(root: str) -> tuple[float, list[str]]:
    """(seconds, what it found) in a process of its own."""
    done = subprocess.run([sys.executable, "-c", ASK, root], capture_output=True, text=True, check=True)
    seconds, *found = done.stdout.split()
    return float(seconds), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--partitions", type=int, default=20_000)
    parser.add_argument("--root", help="where to fill a root; a temporary folder if left out")
    arguments = parser.parse_args()
    root = arguments.root or tempfile.mkdtemp(prefix="codi2-compaction-")
    store = Store(root)
    try:
        if not store.exists("catalog"):
            fill(store, arguments.partitions)
        before, found = first_query(root)
        start = time.perf_counter()
        with progress("compact", None, "files") as advance:
            done = compact(store, advance)
        took = time.perf_counter() - start
        packed, same = first_query(root)
        assert same == found, (same, found)
        start = time.perf_counter()
        gone = len(collect(store, Policy(), now=LATER).going)
        collecting = time.perf_counter() - start
        after, same = first_query(root)
        assert same == found, (same, found)
        figures = {
            "partitions": arguments.partitions, "files_before": done.files_before, "files_after": done.files_after,
            "first_query_s": round(before, 2), "compact_s": round(took, 1), "first_query_packed_s": round(packed, 2),
            "collect_s": round(collecting, 1), "removed": gone, "first_query_collected_s": round(after, 2),
            "ratio": round(before / after, 1),
        }  # fmt: skip
        print(json.dumps(figures, indent=1))
    finally:
        if not arguments.root:
            shutil.rmtree(Path(root))


if __name__ == "__main__":
    main()
