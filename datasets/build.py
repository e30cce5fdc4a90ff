"""Steps of a dataset build. The Prefect flow, the command line and tests call these functions."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from codi2_datasets.connectors import Connector, connectors
from codi2_datasets.corpora import Corpus, corpora
from codi2_datasets.formats.hashing import canonical, digest
from codi2_datasets.operators import operators
from codi2_datasets.pretrained.packages import require
from codi2_datasets.publishing import describe_build
from codi2_datasets.publishing.contact_sheets import draw_sheets
from codi2_datasets.recipe import load_recipe
from codi2_datasets.recipe_paths import portable_recipe
from codi2_datasets.recipe_schema import Recipe
from codi2_datasets.runtime.ray_executor import cluster_when_needed
from codi2_datasets.steps import enrich as enrich_step
from codi2_datasets.steps import ingest as ingest_step
from codi2_datasets.steps import ledger, partitions
from codi2_datasets.steps import plan as plan_step
from codi2_datasets.steps import publish as publish_step
from codi2_datasets.steps import select as select_step
from codi2_datasets.steps import write as write_step
from codi2_datasets.steps.decontaminate import digest_of
from codi2_datasets.tasks import planners
from codi2_datasets.transforms import transforms
from codi2_storage.build_cache import BuildCache
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.diff import changes
from codi2_storage.catalog.environment import environment
from codi2_storage.catalog.lineage import code_version
from codi2_storage.commits.manifests import commits, committed
from codi2_storage.coordination.active_runs import wait_for_collector
from codi2_storage.coordination.leases import lease, still_ours
from codi2_storage.store import Store


@dataclass(frozen=True)
class Settings:
    """Options of a build.

    `limit`: maximum number of rows per corpus, and of samples per task and split. `overrides`: settings that override those
    of the recipe, such as image.size=32.
    """

    recipe: str
    root: str
    workers: int = 2
    limit: int | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildSpec:
    """Everything that determines a build: its steps read nothing else. Its sources are fetched."""

    settings: Settings
    recipe: Recipe
    sources: tuple[ingest_step.Source | ingest_step.Published, ...]
    opted_out: tuple[str, ...]
    """Ids of the opt-outs in force."""
    build_id: str
    missing: tuple[str, ...] = ()
    """Optional corpora that could not be fetched, and the remedy."""

    @classmethod
    def of(
        cls,
        settings: Settings,
        recipe: Recipe,
        sources: Sequence[ingest_step.Source | ingest_step.Published],
        missing: Sequence[str] = (),
    ) -> BuildSpec:
        """The spec with the opt-outs of the root, and the id that follows from all of it."""
        opted_out = opt_outs(Store(settings.root))
        identity = build_id(recipe, sources, settings.limit, opted_out)
        return cls(settings, recipe, tuple(sources), opted_out, identity, tuple(missing))

    def with_new_opt_outs(self) -> BuildSpec:
        """Itself, unless opt-outs were recorded since: then the spec, with another id, that honors them."""
        if opt_outs(self.store) == self.opted_out:
            return self
        return self.of(self.settings, self.recipe, self.sources, self.missing)

    @property
    def store(self) -> Store:
        return Store(self.settings.root)

    @property
    def published(self) -> bool:
        return committed(self.store, self.build_id, "build") is not None


def opt_outs(store: Store) -> tuple[str, ...]:
    """The ids of all opt-outs."""
    return tuple(commit.id for commit in commits(store, "forget"))


@dataclass(frozen=True)
class Built:
    build_id: str
    samples: int
    fresh: bool  # False: it was published before, nothing was done
    missing: tuple[str, ...]  # optional corpora that could not be fetched, and the remedy
    failed: int = 0  # rows and samples that could not be read for now: the next build tries them again


def prepare(settings: Settings) -> BuildSpec:
    """Validate the options and the recipe, fetch the sources, and determine the build id. Once per build.

    Raises ValueError for options out of range.
    """
    if settings.workers < 1:
        raise ValueError(f"--workers {settings.workers}: at least 1")
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit {settings.limit}: at least 1")
    recipe = load_recipe(settings.recipe, settings.overrides).limited(settings.limit)
    check_recipe(recipe)
    sources, missing = ingest_step.fetch_sources(recipe)
    named = [f"{name}: {error.source}: {error.reason}; {error.remedy}" for name, error in missing.items()]
    return BuildSpec.of(settings, recipe, sources, named)


def check_recipe(recipe: Recipe) -> None:
    """Check the packages that a build of the recipe needs. Raises PackageMissing."""
    require(f"recipe {recipe.name}", packages_of(recipe))


def packages_of(recipe: Recipe) -> set[str]:
    """The optional packages that a build needs, by the names in `codi2_datasets.pretrained.packages`."""
    signals = (operators()[choice.op].packages for choice in recipe.signals)
    read = (getattr(corpora().get(choice.name), "packages", ()) for choice in recipe.corpora)
    return {name for names in (*signals, *read) for name in names}


def build_id(
    recipe: Recipe,
    sources: Sequence[ingest_step.Source | ingest_step.Published],
    limit: int | None,
    opted_out: Sequence[str] = (),
) -> str:
    """The hash of everything that determines the build's bytes."""
    steps = [partitions.VERSION, ledger.VERSION, write_step.VERSION]
    tasks = [
        [name, planner.version, planner.phrasings_of(choice.options), planner.options]
        for name, planner in planners().items()
        if (choice := recipe.tasks.get(name))
    ]
    parts = [
        recipe.digest(),
        limit,
        [[source.corpus.name, source.corpus.version, source.revision.revision] for source in sources],
        [[choice.op, operators()[choice.op].version] for choice in recipe.signals],
        [[item.name, item.version] for item in transforms().values()],
        tasks,
        steps,
        *([sorted(opted_out)] if opted_out else []),
        *([digest_of(recipe.decontaminate)] if recipe.decontaminate else []),
    ]
    return digest(parts)[:12]


def ingest(spec: BuildSpec) -> list[str]:
    """Steps 1 and 2: ingest and enrich. Returns the ids of the commits that hold the corpora and their signals."""
    settings = spec.settings
    ids = ingest_step.ingest(spec.store, spec.recipe, spec.sources, settings.workers, settings.limit)
    return sorted(set(ids) | set(enrich_step.enrich(spec.store, spec.recipe, ids, settings.workers)))


def assemble(spec: BuildSpec, ingests: list[str]) -> Built:
    """Steps 3 to 6: select, plan, write, publish. Opt-outs that came during ingestion are honored.

    Transient failures are part of the build id. So a build with failures never takes the id of the complete build, the
    same failures again publish nothing, and every failure that is resolved gives a new version.
    """
    spec = spec.with_new_opt_outs()
    store, recipe, identity = spec.store, spec.recipe, spec.build_id
    catalog = Catalog(store)
    with catalog.connect(only=[*ingests, *spec.opted_out]) as connection:
        select_step.select(connection, identity, recipe)
        cache = BuildCache(store)
        plan_step.plan(connection, identity, recipe, cache, spec.settings.workers)
        write_step.plan_shards(connection, recipe)
        parent = parent_of(catalog, recipe.name)
        receipts, _ = write_step.write(connection, store, identity, spec.settings.workers, shards_of(catalog, parent))
        lacking = [commit for commit in catalog.commits if commit.id in set(ingests) and commit.info.get("passing")]
        failures = [commit.id for commit in lacking] + [receipt.shard for receipt in receipts if receipt.passing]
        failed = sum(commit.info["passing"] for commit in lacking)
        failed += sum(len(receipt.failed) for receipt in receipts if receipt.passing)
        if failures:
            identity = digest([spec.build_id, sorted(failures)])[:12]
            if committed(store, identity, "build") is not None:
                return replace(existing_build(replace(spec, build_id=identity)), failed=failed)
        leaks = publish_step.check(connection)
        counts = publish_step.statistics(connection) | {"checks": leaks}
        publish_step.write_statistics(store, identity, counts)
        draw_sheets(store, identity, sorted(recipe.tasks), receipts, recipe.seed, cache)
        still_ours(store, lease_of(spec.build_id))
        row = build_row(spec, parent) | {"build_id": identity}
        publish_step.publish(connection, store, row, ingests, receipts, cache)
    describe_build(spec.store, identity)
    return Built(identity, samples_of(replace(spec, build_id=identity)), True, spec.missing, failed)


def parent_of(catalog: Catalog, recipe: str) -> str | None:
    """The latest build of the recipe; for a recipe's first build, the latest build of any recipe."""
    own = [commit.id for commit in catalog.builds() if commit.info.get("recipe") == recipe]
    return own[-1] if own else catalog.latest_build()


def shards_of(catalog: Catalog, build_id: str | None) -> list[str]:
    """The shards of a build; none without a build."""
    if build_id is None:
        return []
    with catalog.connect(only=[build_id], tables=["shards"]) as connection:
        return [name for (name,) in connection.execute("select shard from shards order by shard").fetchall()]


def build_row(spec: BuildSpec, parent: str | None) -> dict[str, Any]:
    return {
        "build_id": spec.build_id,
        "recipe": spec.recipe.name,
        "recipe_hash": spec.recipe.digest(),
        "parent": parent,
        "spec": canonical(asdict(portable_recipe(spec.store, spec.recipe))),
        "row_limit": spec.settings.limit,
        "seed": spec.recipe.seed,
        "workers": spec.settings.workers,
        "opted_out": list(spec.opted_out),
        "environment": environment(),
        "code_version": code_version(),
    }


def refresh(settings: Settings) -> None:
    """Look for newer versions of the recipe's packages and print those that were found. The next build uses them."""
    for line in ingest_step.refresh_sources(load_recipe(settings.recipe, settings.overrides)):
        print(line, file=sys.stderr, flush=True)


def say_missing(spec: BuildSpec) -> None:
    """Print the optional corpora that are missing from the build, and how to get them."""
    for line in spec.missing:
        print(f"left out: {line}", file=sys.stderr, flush=True)


def say_changes(built: Built, root: str) -> None:
    """Print, one line each, what changed since the parent build and how many transient failures there were."""
    if built.fresh:
        query = "select parent from builds where build_id = ?"
        [row] = Catalog(root).sql(query, [built.build_id], build=built.build_id).to_pylist()
        if row["parent"] in {commit.id for commit in commits(Store(root), "build")}:
            summary = "; ".join(str(count) for count in changes(root, row["parent"], built.build_id))
            print(f"since build {row['parent']}: {summary}", file=sys.stderr, flush=True)
    else:
        print(f"nothing new since build {built.build_id}", file=sys.stderr, flush=True)
    if built.failed:
        print(
            f"{built.failed:,} rows or samples failed temporarily; the next build retries them",
            file=sys.stderr,
            flush=True,
        )


def published_build(settings: Settings, name: str) -> Built | None:
    """The result for a build that was published before, None if there is work to do. `name`: of the recipe.

    Looks only where the recipe was built before: otherwise its sources may have to be fetched, which is part of a run.
    """
    if not any(commit.info.get("recipe") == name for commit in Catalog(settings.root).builds()):
        return None
    spec = prepare(settings)
    if not spec.published:
        return None
    say_missing(spec)
    return existing_build(spec)


def build(settings: Settings) -> Built:
    """The whole build without an orchestrator. A build that is already published is left unchanged."""
    spec = prepare(settings)
    say_missing(spec)
    with build_lease(spec):
        if spec.published:
            return existing_build(spec)
        with cluster_when_needed(settings.workers):
            return assemble(spec, ingest(spec))


@contextmanager
def build_lease(spec: BuildSpec) -> Iterator[None]:
    """Hold the build's lease: of several processes that make the same build, one runs and the others wait.

    A published build needs no lease.
    """
    if spec.published:
        yield
        return
    with lease(spec.store, lease_of(spec.build_id), about=f"a build of {spec.recipe.name}"):
        wait_for_collector(spec.store)
        yield


def lease_of(build_id: str) -> str:
    return f"build-{build_id}"


def existing_build(spec: BuildSpec) -> Built:
    """The result for a build that was published before."""
    describe_build(spec.store, spec.build_id)
    return Built(spec.build_id, samples_of(spec), False, spec.missing)


def samples_of(spec: BuildSpec) -> int:
    rows = Catalog(spec.store).sql("select samples from builds", build=spec.build_id).to_pylist()
    return int(rows[0]["samples"])


def corpus_list(root: str) -> list[dict[str, Any]]:
    """Every known corpus and connector, with the number of its rows in the root."""
    store = Store(root)
    counts = Catalog(store).sql("select corpus, sum(rows)::bigint as rows from corpora group by corpus").to_pylist()
    held = {row["corpus"]: row["rows"] for row in counts}
    known: list[tuple[Corpus | Connector, str]] = [(corpus, corpus.source) for corpus in corpora().values()]
    known += [(connector, f"your copy of {connector.homepage}") for connector in connectors().values()]
    return [
        {
            "corpus": item.name,
            "licence": item.licence,
            "source": source,
            "size": item.size,
            "tasks": ", ".join(item.tasks),
            "rows": held.get(item.name),
            "description": item.description,
        }
        for item, source in known
    ]
