"""Step 4: task planners, in-context pairing, splits and mixture give the plan, before any bytes are written.

Everything is SQL on the connection that `select` left: no Python loop runs over samples. Creates the tables of `OF_PLAN`.
The plan of a task is cached by the hash of what the task reads, and the next build takes it over if that did not change.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import duckdb
import pyarrow as pa

from codi2_datasets.formats.hashing import digest
from codi2_datasets.planning.edit_pairs import edits, make_relations, store_edits
from codi2_datasets.planning.inputs import digest_of, inputs_digest
from codi2_datasets.planning.mixture import shares
from codi2_datasets.planning.nearest_neighbours import make_neighbours
from codi2_datasets.planning.planner import Columns
from codi2_datasets.planning.tables import OF_SELECT, check_tables, create_tables
from codi2_datasets.recipe_schema import Recipe, TaskChoice
from codi2_datasets.runtime.progress import progress
from codi2_datasets.steps.ledger import count, ledger_line
from codi2_datasets.steps.plan_ranges import merged, plan_missing, ranges_of, works_of
from codi2_datasets.steps.plan_task import (
    OF_TASK,
    VERSION,
    candidates_of,
    make_candidates,
    make_fusable,
    plan_task,
    prepare_task,
)
from codi2_datasets.tasks import Planner, planners
from codi2_datasets.transforms import transforms
from codi2_storage.build_cache import BuildCache
from codi2_storage.store import Store


def plan(
    connection: duckdb.DuckDBPyConnection,
    build_id: str,
    recipe: Recipe,
    cache: BuildCache | None = None,
    workers: int = 1,
) -> None:
    """Plan every task, or take over its plan from `cache` if nothing that the task reads has changed.

    A task of more than `SAMPLES_PER_RANGE` samples is planned in ranges, on Ray.
    """
    cache = cache or BuildCache()
    check_tables(connection, *OF_SELECT)
    make_relations(connection)
    make_fusable(connection)
    connection.execute("create temp table transforms (name varchar, modality varchar)")
    rows = [(name, item.modality) for name, item in transforms().items()]
    connection.executemany("insert into transforms values (?, ?)", rows)
    create_tables(connection, "planned_samples", "planned_parts", "derived")
    if any(task.options.get("pairing") == "nearest" for task in recipe.tasks.values()):
        make_neighbours(connection)
    works = {name: TaskPlan.of(connection, recipe, planners()[name], recipe.tasks[name]) for name in recipe.tasks}
    works = share_total(connection, recipe, works, cache)
    with progress("plan", len(works), "tasks") as advance:
        for name in sorted(works):
            start = time.perf_counter()
            with works[name].planned(cache, workers) as tables:
                add_task(connection, build_id, works[name], tables, start)
            advance(1)


@dataclass(frozen=True)
class TaskPlan:
    """The work of planning one task. `inputs`: a digest of everything that its candidates are made of."""

    connection: duckdb.DuckDBPyConnection
    recipe: Recipe
    planner: Planner
    choice: TaskChoice
    inputs: str

    @classmethod
    def of(
        cls, connection: duckdb.DuckDBPyConnection, recipe: Recipe, planner: Planner, choice: TaskChoice
    ) -> TaskPlan:
        choice = replace(choice, options={**planner.options, **choice.options})
        query, bound = candidates_of(planner, choice.options)
        licences = connection.execute("select list(distinct licence order by licence) from selected").fetchone()
        read = inputs_digest(connection, query, bound, planner.columns, recipe.mixture)
        if choice.options.get("pairing") == "nearest":
            read.append(["neighbours", *digest_of(connection, "neighbours", {"asset_id", "other", "rank"})])
        made = [[item.name, item.version, item.modality] for item in transforms().values()]
        content = [VERSION, duckdb.__version__, query, edits(), bound, made, licences, read]
        return cls(connection, recipe, planner, choice, digest(content))

    @property
    def key(self) -> str:
        """The hash of everything that determines the task's plan."""
        planner, choice, recipe = self.planner, self.choice, self.recipe
        weights = [recipe.mixture.corpora, recipe.mixture.licences, recipe.mixture.languages]
        wanted = [choice.train, choice.validation, choice.test, choice.temperature]
        phrasings = planner.phrasings_of(choice.options)
        task = [planner.task, planner.version, planner.demos, asdict(planner.columns), phrasings]
        return digest([self.inputs, *task, choice.options, wanted, recipe.name, recipe.seed, weights])

    @contextmanager
    def planned(self, cache: BuildCache, workers: int) -> Iterator[dict[str, str]]:
        """SQL for the tables of `OF_TASK`."""
        if ranges_of(self.choice) > 1:
            with tempfile.TemporaryDirectory(prefix="codi2-plan-") as folder:
                yield self.planned_in_ranges(cache, cache.store or Store(folder), workers)
            return
        tables = cache.tables(self.key, OF_TASK, self.make)
        for name, table in tables.items():
            self.connection.register(f"of_{name}", table)
        yield {name: f"from of_{name}" for name in tables}
        for name in tables:
            self.connection.unregister(f"of_{name}")

    def make(self) -> dict[str, pa.Table]:
        """Plan the task as a whole."""
        self.make_edits()
        return plan_task(self.connection, self.recipe, self.planner, self.choice)

    def prepare(self) -> Columns:
        """Decide what concerns the whole task, before its ranges are planned."""
        self.make_edits()
        return prepare_task(self.connection, self.recipe, self.planner, self.choice)

    def planned_in_ranges(self, cache: BuildCache, store: Store, workers: int) -> dict[str, str]:
        works = works_of(store, self.key, self.recipe, self.planner.task, self.choice)
        plan_missing(self.connection, works, self.prepare, workers)
        cache.used.update(work.own_key for work in works)
        return merged(self.connection, works)

    def make_edits(self) -> None:
        if "edits" in self.planner.sql(self.choice.options):
            store_edits(self.connection)

    def room(self) -> bytes:
        """The number of train samples that the candidates allow, as a decimal."""
        make_candidates(self.connection, self.planner, self.choice.options)
        row = self.connection.execute("select count(*) from candidates where split = 'train'").fetchone() or (0,)
        return str(row[0] * min_phrasings(self)).encode()


def share_total(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, works: dict[str, TaskPlan], cache: BuildCache
) -> dict[str, TaskPlan]:
    """The tasks, with their share of the train samples if the mixture has a total."""
    if not recipe.mixture.total:
        return works
    room: dict[str, int] = {}
    with progress("count", len(works), "tasks") as advance:
        for name, work in works.items():
            key = digest(["room", work.inputs, min_phrasings(work)])
            room[name] = int(cache.blob(key, work.room))
            advance(1)
    weights = {name: work.choice.weight for name, work in works.items()}
    train = shares(recipe.mixture.total, room, weights, recipe.mixture.temperature)
    return {name: replace(work, choice=replace(work.choice, train=train[name])) for name, work in works.items()}


def min_phrasings(work: TaskPlan) -> int:
    """The minimum number of phrasings that any candidate of a task has."""
    kinds = [template.kind for template in work.planner.templates_of(work.choice.options)]
    return min(kinds.count(kind) for kind in kinds)


def add_task(
    connection: duckdb.DuckDBPyConnection, build_id: str, work: TaskPlan, tables: dict[str, str], start: float
) -> None:
    """Add the plan of a task to that of the build, with a row in the ledger. tables: SQL for the tables of `OF_TASK`."""
    names = {"build": build_id, "task": work.planner.task}
    before = count(connection, "planned_samples"), count(connection, "rejected")
    for name, query in {
        "samples": "planned_samples by name select $build as build_id, $task as task, * exclude (key)",
        "parts": "planned_parts by name select $build as build_id, *",
        "derived": "derived by name select *",
        "rejected": "rejected by name select $build as build_id, subject, 'plan' as stage, $task as op, reason",
    }.items():
        fresh = " where asset_id not in (select asset_id from derived)" if name == "derived" else ""
        known = {key: value for key, value in names.items() if f"${key}" in query}
        connection.execute(f"insert into {query} from ({tables[name]}){fresh}", known)
    choice, rejected = work.choice, count(connection, "rejected") - before[1]
    wanted = {"train": choice.train, "validation": choice.validation, "test": choice.test}
    params = {"options": choice.options, "samples": wanted}
    rows_in = count(connection, "planned_samples") - before[0] + rejected
    ledger_line(connection, build_id, "plan", work.planner.task, params, rows_in, rejected, start, work.planner.version)
