"""How long does planning take, and how much memory, as samples and ranges grow? No byte of media moves.

usage: python benchmarks/planning.py ROOT [RECIPE] [--samples 1000000 ...] [--ranges 1 3 8] [--kill]
       (ROOT holds the recipe's latest build; --kill kills the process of the first range that runs)

Prints for each run: seconds, peak memory of this process and of the largest worker, and a hash of all plan tables, which is
the same for any number of ranges.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import psutil

from codi2_datasets.planning.tables import OF_PLAN
from codi2_datasets.recipe import load_recipe
from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_datasets.steps import plan as plan_step
from codi2_datasets.steps import plan_ranges
from codi2_datasets.steps.select import select
from codi2_storage.catalog.catalog import Catalog

WORKERS = 2
POLL_SECONDS = 0.1
MEMORY = "4GB"  # of this process's DuckDB, which decides what concerns a whole task


@dataclass
class Peak:
    """Largest resident memory in GiB, of this process and of any worker that plans a range."""

    main: float = 0.0
    worker: float = 0.0


@contextmanager
def watched(kill: bool = False) -> Iterator[Peak]:
    """Poll the memory of this process and of its workers; with `kill`, kill the first worker that plans a range."""
    peak, done, process = Peak(), threading.Event(), psutil.Process()

    def poll() -> None:
        left = 1 if kill else 0
        while not done.wait(POLL_SECONDS):
            peak.main = max(peak.main, process.memory_info().rss / 2**30)
            for child in process.children(recursive=True):
                with suppress(psutil.Error):
                    if "plan_range" in child.name() or "plan_range" in " ".join(child.cmdline()):
                        peak.worker = max(peak.worker, child.memory_info().rss / 2**30)
                        if left:
                            child.kill()
                            left -= 1

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("recipe", nargs="?", default="demo")
    parser.add_argument("--samples", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--ranges", nargs="+", type=int, default=[1, 3, 8])
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    recipe, catalog = load_recipe(options.recipe), Catalog(options.root)
    uses = catalog.builds()[-1].uses
    for total in options.samples:
        asked = replace(recipe, mixture=replace(recipe.mixture, total=total, temperature=2.0))
        for ranges in options.ranges:
            setattr(plan_step, "ranges_of", lambda choice, n=ranges: n)  # noqa: B010
            setattr(plan_ranges, "ranges_of", lambda choice, n=ranges: n)  # noqa: B010
            with local_cluster(WORKERS), watched(options.kill) as peak, catalog.connect(only=uses) as connection:
                connection.execute(f"set threads = {WORKERS}; set memory_limit = '{MEMORY}'")
                select(connection, "benchmark", asked)
                start = time.perf_counter()
                plan_step.plan(connection, "benchmark", asked, workers=WORKERS)
                seconds = time.perf_counter() - start
                [(planned,)] = connection.execute("select count(*) from planned_samples").fetchall()
                content = hash_of_tables(connection)
            print(
                f"{planned:>10,} samples, {ranges} ranges a task: {seconds:6.1f} s, {seconds / planned * 1e6:4.0f} us a sample; "
                f"peak {peak.main:.1f} GiB, worker {peak.worker:.1f} GiB; tables {content}",
                flush=True,
            )


def hash_of_tables(connection: object) -> str:
    """A hash of all plan tables that does not depend on the order of their rows."""
    total = 0
    for table in OF_PLAN:
        columns = "* exclude (seconds)" if table == "ledger" else "*"
        query = f"select sum(hash(t)::hugeint) from (select {columns} from {table}) t"
        [(value,)] = connection.execute(query).fetchall()  # type: ignore[attr-defined]
        total += int(value or 0)
    return f"{total % 2**64:016x}"


if __name__ == "__main__":
    main()
