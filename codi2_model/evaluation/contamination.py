"""Contamination: held-out samples of a build on which a model was trained in other builds.

Normally there are none, because splits are hashes of families and are equal in all builds. A recipe with other splits, or a
corpus under another name, can cause contamination.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from codi2_storage.catalog.catalog import Catalog

TABLES = ("samples", "parts", "runs", "checkpoints")
TEST_PARTS = "select sample_id, asset_id from parts join samples using (build_id, sample_id) where build_id = ? and split = 'test'"
# test samples that are train samples in other builds, or whose target medium occurs in train samples there
CONTAMINATED = f"""
with held as ({TEST_PARTS} and target),
     trained as (select sample_id, asset_id from parts join samples using (build_id, sample_id)
                where build_id in (select unnest(?)) and build_id <> ? and split = 'train')
select distinct held.sample_id from held
where held.sample_id in (select sample_id from trained)
   or held.asset_id in (select asset_id from trained where asset_id is not null)
order by 1"""


@dataclass(frozen=True)
class Contamination:
    """samples: held-out samples seen in training. gone: training builds that are missing in the catalog."""

    samples: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """Notes for the decision of the gate."""
        notes = []
        if self.samples:
            notes.append(
                f"{len(self.samples)} held-out samples excluded, because one of the two models was trained on them"
            )
        if self.gone:
            gone = ", ".join(self.gone)
            notes.append(f"contamination could not be checked: build {gone} is not in the catalog")
        return tuple(notes)


NO_CONTAMINATION = Contamination()


def find_contamination(catalog: Catalog, build_id: str, checkpoints: Sequence[str]) -> Contamination:
    """Held-out samples of a build on which the checkpoints were trained in other builds."""
    with catalog.connect(all_builds=True, tables=TABLES) as connection:
        builds = sorted(
            {build for checkpoint in checkpoints for build in trained_on(connection, checkpoint)} - {build_id}
        )
        recorded = {row[0] for row in connection.execute("select distinct build_id from samples").fetchall()}
        rows = connection.execute(CONTAMINATED, [build_id, builds, build_id]).fetchall() if builds else []
    return Contamination(frozenset(row[0] for row in rows), tuple(build for build in builds if build not in recorded))


def trained_on(connection: duckdb.DuckDBPyConnection, checkpoint_id: str) -> list[str]:
    """Builds on which a checkpoint, and the checkpoints that it started from, were trained."""
    builds: list[str] = []
    seen: set[str] = set()
    waiting: list[str] = [checkpoint_id]
    while waiting:
        identity = waiting.pop()
        if identity in seen:
            continue
        seen.add(identity)
        query = "select build_id, start from checkpoints join runs using (run_id) where checkpoint_id = ?"
        for build, start in connection.execute(query, [identity]).fetchall():
            if build:
                builds.append(build)
            if start:
                waiting.append(start)
    return builds
