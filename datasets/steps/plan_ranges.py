"""Plan a large task in ranges: parts of its samples by the hash of their keys, each planned by a DuckDB of its own on Ray.

What concerns the whole task is decided before (`prepare_task`: candidates, mixture, rings of demonstrations) and stored in one
database file, which the ranges read. Each range writes its tables as Parquet to the build cache under a key of its own, so that
an interrupted plan continues with the ranges that are missing. The same sample in two ranges is left to `merged`. The result
does not depend on the number of ranges, which follows from the number of samples alone.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from codi2_datasets.formats.hashing import digest
from codi2_datasets.planning.demonstrations import drop_rings
from codi2_datasets.planning.planner import Columns
from codi2_datasets.recipe_schema import Recipe, TaskChoice
from codi2_datasets.runtime.ray_executor import ray_map
from codi2_datasets.steps.plan_task import COPY, OF_TASK, make_fusable, plan_samples
from codi2_datasets.tasks import planners
from codi2_storage.build_cache import FOLDER
from codi2_storage.catalog.sql import identifier, literal, literals
from codi2_storage.store import Store

SAMPLES_PER_RANGE = 250_000  # a million need over 4 GB: the ordered sums over parts do not spill
MEMORY = "3GB"  # of a range
DATABASE = "task.duckdb"
SHARED = (
    "selected",
    "transforms",
    "derived",
    "neighbours",
    "candidates",
    "taken",
    "templates",
    "phrasings",
    "rings",
    "ring",
)
"""Tables that the ranges read, as far as the task has them."""


@dataclass(frozen=True)
class RangeWork:
    """One range of a task: the samples whose hash is `number` modulo `ranges`."""

    store: Store
    key: str
    """Of the task's plan."""
    recipe: Recipe
    task: str
    choice: TaskChoice
    number: int
    ranges: int
    columns: Columns = field(default_factory=Columns)
    """Of the candidates; known once the task is prepared."""

    @property
    def own_key(self) -> str:
        return digest([self.key, "range", self.number, self.ranges])

    @property
    def files(self) -> list[str]:
        return [f"{FOLDER}/{self.own_key}/{name}.parquet" for name in OF_TASK]

    @property
    def database(self) -> str:
        return f"{FOLDER}/{digest([self.key, 'shared'])}/{DATABASE}"


def ranges_of(choice: TaskChoice) -> int:
    """Number of ranges that a task is planned in."""
    return max(1, math.ceil((choice.train + choice.validation + choice.test) / SAMPLES_PER_RANGE))


def works_of(store: Store, key: str, recipe: Recipe, task: str, choice: TaskChoice) -> list[RangeWork]:
    """The ranges of a task."""
    ranges = ranges_of(choice)
    return [RangeWork(store, key, recipe, task, choice, number, ranges) for number in range(ranges)]


def plan_missing(
    connection: duckdb.DuckDBPyConnection, works: list[RangeWork], prepare: Callable[[], Columns], workers: int
) -> None:
    """Plan the ranges of a task whose files are not stored yet. `prepare`: decides what concerns the whole task (`prepare_task`).

    Call it inside `local_cluster` or `cluster_when_needed`.
    """
    missing = [work for work in works if not all(map(work.store.exists, work.files))]
    if not missing:
        return
    columns, database = prepare(), missing[0].database
    store = missing[0].store
    store_shared(connection, store, database)
    drop_rings(connection)
    for _ in ray_map(plan_range, [replace(work, columns=columns) for work in missing], workers, few=1):
        pass
    store.remove(database.rpartition("/")[0])


def store_shared(connection: duckdb.DuckDBPyConnection, store: Store, name: str) -> None:
    """Write the tables of `SHARED` as a database file."""
    known = {table for (table,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
    with tempfile.TemporaryDirectory(prefix="codi2-plan-") as folder:
        connection.execute(f"attach {literal(f'{folder}/{DATABASE}')} as shared")
        for table in SHARED:
            if table in known:  # in their order, so that rows keep their numbers
                connection.execute(f"create table shared.{identifier(table)} as from {identifier(table)}")
        connection.execute("detach shared")
        store.put_folder(folder, name.rpartition("/")[0])


def plan_range(work: RangeWork) -> None:
    """Plan one range and store its tables."""
    with shared_tables(work) as connection, tempfile.TemporaryDirectory(prefix="codi2-plan-") as folder:
        make_fusable(connection)
        planner = planners()[work.task]
        queries = plan_samples(connection, work.recipe, planner, work.choice, work.columns, work.number, work.ranges)
        for name, query in queries.items():
            target = literal(f"{folder}/{name}.parquet")
            connection.execute(f"copy ({query}) to {target} (format parquet, compression zstd, compression_level 1)")
        work.store.put_folder(folder, f"{FOLDER}/{work.own_key}")


@contextmanager
def shared_tables(work: RangeWork) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of one thread and bounded memory that shows the task's shared tables."""
    with tempfile.TemporaryDirectory(prefix="codi2-plan-") as folder:
        path = work.store.local_path(work.database)
        if path is None:
            path = f"{folder}/{DATABASE}"
            with work.store.open_read(work.database) as source, Path(path).open("wb") as target:
                shutil.copyfileobj(source, target)
        spill = os.path.join(folder, "spill")
        with duckdb.connect(config={"memory_limit": MEMORY, "threads": 1, "temp_directory": spill}) as connection:
            connection.execute(f"attach {literal(path)} as shared (read_only); use shared")
            yield connection


def merged(connection: duckdb.DuckDBPyConnection, works: list[RangeWork]) -> dict[str, str]:
    """SQL for the tables of `OF_TASK` from all ranges; of equal samples in two ranges, that with the first key stays."""
    paths: dict[str, list[str]] = {name: [] for name in OF_TASK}
    for work in works:
        for name, file in zip(OF_TASK, work.files, strict=True):
            paths[name].append(work.store.local_path(file) or work.store.uri(file))
    of = {name: f"read_parquet([{literals(listed)}])" for name, listed in paths.items()}
    connection.execute(
        f"""create or replace temp table lost_copies as
            with doubled as (select sample_id from {of["samples"]} group by 1 having count(*) > 1)
            select sample_id, key from {of["samples"]} semi join doubled using (sample_id)
            qualify row_number() over (partition by sample_id order by key) > 1"""
    )
    doubled = "sample_id in (select sample_id from lost_copies)"
    return {
        "samples": f"select * from {of['samples']} where key not in (select key from lost_copies)",
        "parts": f"select * from {of['parts']} where not {doubled} "
        f"union all select distinct * from {of['parts']} where {doubled}",
        "derived": f"select distinct on (asset_id) * from {of['derived']}",
        "rejected": f"select * from {of['rejected']} "
        f"union all select sample_id as subject, {literal(COPY)} as reason from lost_copies",
    }
