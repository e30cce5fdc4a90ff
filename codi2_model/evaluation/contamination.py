"""Which held-out samples of a build a model has trained on elsewhere: they would say nothing of what it can.

Splits hang on hashes of families, so what one build holds out the next does too, and there are none. A recipe with other
splits, or a corpus that a model saw under another name, would change that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from codi2_storage.catalog.catalog import Catalog

TABLES = ("samples", "parts", "runs", "checkpoints")
HELD = "select sample_id, asset_id from parts join samples using (build_id, sample_id) where build_id = ? and split = 'test'"
# the same sample, or a train sample that shows the medium asked for
LEARNT = f"""
with held as ({HELD} and target),
     learnt as (select sample_id, asset_id from parts join samples using (build_id, sample_id)
                where build_id in (select unnest(?)) and build_id <> ? and split = 'train')
select distinct held.sample_id from held
where held.sample_id in (select sample_id from learnt)
   or held.asset_id in (select asset_id from learnt where asset_id is not null)
order by 1"""


@dataclass(frozen=True)
class Learnt:
    """`samples`: held-out ones that a model has seen in training; `gone`: builds of its training that are in no catalog."""

    samples: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """In words, for the decision."""
        notes = []
        if self.samples:
            notes.append(f"{len(self.samples)} held-out samples that one of the two has trained on are left out")
        if self.gone:
            gone = ", ".join(self.gone)
            notes.append(
                f"whether held-out samples were trained on could not be looked up: {gone} is not in the catalog"
            )
        return tuple(notes)


NOTHING = Learnt()


def learnt(catalog: Catalog, build_id: str, checkpoints: Sequence[str]) -> Learnt:
    """The held-out samples of a build that the checkpoints have trained on in other builds."""
    with catalog.connect(all_builds=True, tables=TABLES) as connection:
        builds = sorted({build for one in checkpoints for build in trained_on(connection, one)} - {build_id})
        known = {row[0] for row in connection.execute("select distinct build_id from samples").fetchall()}
        found = connection.execute(LEARNT, [build_id, builds, build_id]).fetchall() if builds else []
    return Learnt(frozenset(row[0] for row in found), tuple(build for build in builds if build not in known))


def trained_on(connection: duckdb.DuckDBPyConnection, checkpoint_id: str) -> list[str]:
    """The builds of a checkpoint's training, and of the checkpoints whose weights it began with."""
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
