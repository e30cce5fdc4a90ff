"""Reproduce a published build from its catalog record: recipe, limit, corpus revisions, opt-outs in force.

It is built from scratch in a root of its own. `compare_builds.py` then checks whether the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from codi2_datasets import build as library
from codi2_datasets.formats.hashing import digest
from codi2_datasets.opt_out import forget
from codi2_datasets.recipe import recipe_of_spec
from codi2_datasets.recipe_paths import present_recipe
from codi2_datasets.recipe_schema import Recipe, RecipeError
from codi2_datasets.runtime.ray_executor import cluster_when_needed
from codi2_datasets.sources.fetch import SourceUnavailable, fetch
from codi2_datasets.steps.ingest import Source, fetch_sources
from codi2_datasets.steps.ingest_published import Published, revisions
from codi2_datasets.steps.partitions import Media
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer, commits, committed
from codi2_storage.store import Store


class ReproduceError(ValueError):
    """A build cannot be reproduced because one of its sources is unavailable. The message names it."""


@dataclass(frozen=True)
class Original:
    """A published build as recorded in the catalog."""

    row: dict[str, Any]
    """The build's row of `builds`."""
    revisions: dict[str, dict[str, str]]
    """By corpus: revision -> version."""
    forgotten: str | None
    """Id of the opt-out that made it from its parent; None if it was built from its recipe."""

    @property
    def build_id(self) -> str:
        return str(self.row["build_id"])

    @classmethod
    def of(cls, catalog: Catalog, build_id: str) -> Original:
        """Raises CatalogError if there is no such build."""
        row = catalog.sql("select * from builds where build_id = ?", [build_id], build=build_id).to_pylist()[0]
        revisions: dict[str, dict[str, str]] = {}
        query = "select distinct corpus, revision, version from corpora order by all"
        for line in catalog.sql(query, build=build_id).to_pylist():
            revisions.setdefault(line["corpus"], {})[line["revision"]] = line["version"]
        return cls(row, revisions, made_by_forgetting(catalog, row))


def made_by_forgetting(catalog: Catalog, row: Mapping[str, Any]) -> str | None:
    """The opt-out that, applied to the build's parent, gives the build's id, as `forget` derives it."""
    for name, gone in opt_outs(catalog.store).items():
        if digest([row["parent"], sorted(gone["source_row_id"].to_pylist())])[:12] == row["build_id"]:
            return name
    return None


def opt_outs(store: Store) -> dict[str, pa.Table]:
    """What each opt-out removed (table `forgotten`), by its commit's id."""
    by_commit = {}
    for commit in commits(store, "forget"):
        with Catalog(store).connect(only=[commit.id]) as connection:
            by_commit[commit.id] = connection.execute("select * from forgotten").to_arrow_table()
    return by_commit


def reproduce_build(catalog: Catalog, build_id: str, root: str, workers: int) -> str:
    """Reproduce a build of `catalog` under `root`, which must hold no other build. Returns its id there.

    Raises ReproduceError if a corpus, or the parent of an opt-out build, is no longer available in the same form.
    """
    original = Original.of(catalog, build_id)
    if original.forgotten is not None:
        reproduce_build(catalog, original.row["parent"], root, workers)
        gone = opt_outs(catalog.store)[original.forgotten]
        return forget(root, sorted(set(gone["source_row_id"].to_pylist())))
    take_over_opt_outs(catalog.store, original, Store(root))
    prepared = prepare(catalog.store, original, root, workers)
    if not prepared.published:
        with cluster_when_needed(workers):
            return library.assemble(prepared, library.ingest(prepared)).build_id
    return prepared.build_id


def take_over_opt_outs(store: Store, original: Original, target: Store) -> None:
    """Copy the opt-outs that were in force when the build was made, unchanged: their ids are part of the build id."""
    known = opt_outs(store)
    for name in original.row["opted_out"]:
        if committed(target, name, "forget") is None:
            with Writer(target, name, "forget") as writer:
                writer.append("forgotten", known[name])


def prepare(store: Store, original: Original, root: str, workers: int) -> library.BuildSpec:
    """The recipe of a build of `store`, with each of its corpora at the revision it had."""
    row = original.row
    where = f"the recipe of build {original.build_id}"
    try:
        recipe = present_recipe(store, recipe_of_spec(row["spec"] or "null", where))
    except RecipeError as error:
        raise ReproduceError(str(error)) from error
    settings = library.Settings(row["recipe"], Store(root).uri(), workers, row["row_limit"])
    return library.BuildSpec.of(settings, recipe, as_they_were(original, recipe, Store(root)))


def as_they_were(original: Original, recipe: Recipe, store: Store) -> list[Source | Published]:
    """The build's corpora at their revisions. A corpus that was missing from the build is left out again."""
    had = [choice for choice in recipe.corpora if choice.corpus in original.revisions]
    fetched, missing = fetch_sources(replace(recipe, corpora=tuple(replace(choice, optional=True) for choice in had)))
    for name, error in missing.items():
        raise ReproduceError(f"corpus {name} can no longer be had: {error.source}: {error.reason}; {error.remedy}")
    media, limit = Media.of(recipe), original.row["row_limit"]
    sources: list[Source | Published] = []
    for source in fetched:
        name = source.place.corpus if isinstance(source, Published) else source.corpus.name
        then = original.revisions[name]
        if isinstance(source, Source) and source.revision.revision not in then:
            source = pinned(source, then.values())
        now = {source.revision.revision} if isinstance(source, Source) else revisions(store, source, media, limit)
        if now != set(then):
            raise ReproduceError(
                f"corpus {name} is not to be had as it was: the build stands on {', '.join(then)}, "
                f"and {source.revision.source} holds {', '.join(sorted(now))}"
            )
        sources.append(source)
    return sources


def pinned(source: Source, then: Iterable[str]) -> Source:
    """The same corpus at the package version that the build used, if the registry still has it."""
    address = source.corpus.source
    for version in then:
        if address.startswith("deb:") and "=" not in address:
            with suppress(SourceUnavailable):
                return replace(source, package=fetch(f"{address}={version}"))
    return source
