"""Garbage collection: removes what retention does not keep, commits first, so that no commit names a missing file.

`plan` lists what would be removed and why; `collect` removes it. If it is killed at any moment, the catalog is
consistent and the next collection finishes the work: files are judged again by the commits that exist. Whatever is
younger than the grace period is left alone: a writer may be about to name it, a reader may still be reading it. A run
that uses the root stops a collection before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.commit import Commit
from codi2_storage.commits.packs import packs, write_pack
from codi2_storage.coordination import active_runs
from codi2_storage.coordination.leases import lease
from codi2_storage.gc.inventory import COMMITS, PendingDeletion, RootInventory
from codi2_storage.gc.retention import Key, Policy, closure, retained
from codi2_storage.store import Store, StoreError

ORDER = ("run", "build", "ingest")  # kinds of commits in the order of removal: dependents first
FORGOTTEN = "its owner opted out"
YOUNG = "younger than the grace period: stays for now"
BATCH = 1_000  # files removed between two progress updates
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What is removed, what would be but is younger than the grace period, and why the kept builds and runs are kept."""

    going: list[PendingDeletion] = field(default_factory=list)
    waiting: list[PendingDeletion] = field(default_factory=list)
    kept: dict[Key, str] = field(default_factory=dict)

    def table(self) -> list[dict[str, object]]:
        """A row per kind and reason: how many, and how many bytes."""
        lines: dict[tuple[str, str], list[int]] = {}
        for item in [*self.going, *(replace(item, why=YOUNG) for item in self.waiting)]:
            line = lines.setdefault((item.kind, item.why), [0, 0])
            line[0] += 1
            line[1] += item.bytes
        return [{"kind": kind, "count": n, "bytes": size, "why": why} for (kind, why), (n, size) in lines.items()]


def plan(store: Store, policy: Policy, now: float | None = None) -> Plan:
    """What a collection would remove. `now`: seconds since 1970, by default this machine's clock."""
    held = RootInventory.of(store, (time.time() if now is None else now) - policy.grace)
    gone, kept = commits_that_go(held, policy)
    left = [commit for commit in held.commits if (commit.kind, commit.id) not in gone]
    files, waiting = held.unnamed(left)
    return Plan(
        [*as_deletions(held, gone), *held.redundant_files(), *forgotten_media(store, left), *files], waiting, kept
    )


def collect(store: Store, policy: Policy, now: float | None = None, advance: Advance = lambda done: None) -> Plan:
    """Remove what retention no longer keeps.

    Returns what was removed. `advance` is called with the number of files removed.

    Raises Busy if a run uses the root, StoreError if the store keeps files that it was asked to remove.
    """
    since = (time.time() if now is None else now) - policy.grace
    with lease(store, active_runs.COLLECTOR, about="a collection"):
        active_runs.refuse(store)
        held = RootInventory.of(store, since)
        gone, kept = commits_that_go(held, policy)
        going = [*as_deletions(held, gone), *held.redundant_files()]
        remove_surely(store, [item.name for item in held.redundant_files()])
        for some in in_order(held, gone):
            remove_commits(store, some)
        left = RootInventory.of(store, since)
        blanked = forgotten_media(store, left.commits)
        for item in blanked:
            blank(store, item)
        files, waiting = left.unnamed(left.commits)
        for start in range(0, len(files), BATCH):
            store.remove_files([item.name for item in files[start : start + BATCH]])
            advance(len(files[start : start + BATCH]))
    return Plan([*going, *blanked, *files], waiting, kept)


def commits_that_go(held: RootInventory, policy: Policy) -> tuple[dict[Key, str], dict[Key, str]]:
    """The commits to remove, and those kept for a reason worth reporting, each with the reason.

    A young ingest stays with everything it depends on: a build that will name it may be under way.
    """
    retention = retained(Catalog(held.store), policy)
    bases = {
        c.id: [*c.uses, *([c.info["measures"]] if "measures" in c.info else [])]
        for c in held.commits
        if c.kind == "ingest"
    }
    young = closure(
        bases, [c.id for c in held.commits if c.kind == "ingest" and held.young(held.path_of((c.kind, c.id)))]
    )
    gone = {key: why for key, why in retention.go.items() if key[0] != "ingest" or key[1] not in young}
    return gone, retention.why


def as_deletions(held: RootInventory, gone: dict[Key, str]) -> list[PendingDeletion]:
    """Commits as rows of a plan. A packed commit has no file of its own, so its size is 0."""
    items = []
    for (kind, name), why in sorted(gone.items(), key=lambda item: (ORDER.index(item[0][0]), item[0])):
        file = held.files.get(f"{COMMITS}/{kind}/{name}.json")
        items.append(PendingDeletion(kind, f"{kind} {name}", file.bytes if file else 0, why))
    return items


def in_order(held: RootInventory, gone: Collection[Key]) -> list[list[Commit]]:
    """The commits in groups in order of removal: a commit goes before those it depends on."""
    commits = [commit for commit in held.commits if (commit.kind, commit.id) in gone]
    rank = {kind: number for number, kind in enumerate(ORDER)}
    groups: dict[tuple[int, int], list[Commit]] = {}
    for commit in commits:
        depth = 0 if commit.uses else 1 if "measures" in commit.info else 2
        groups.setdefault((rank[commit.kind], depth), []).append(commit)
    return [groups[key] for key in sorted(groups)]


def remove_commits(store: Store, some: Iterable[Commit]) -> None:
    """Remove commits. A pack that holds some of them is rewritten without them."""
    keys = {(commit.kind, commit.id) for commit in some}
    held = {path: pack for path, pack in packs(store).items() if pack.commits.keys() & keys}
    remove_surely(store, [f"{COMMITS}/{kind}/{name}.json" for kind, name in sorted(keys)])
    for path, pack in held.items():
        if rest := [commit for key, commit in pack.commits.items() if key not in keys]:
            write_pack(store, rest, replaces=[path])
        remove_surely(store, [path])


def remove_surely(store: Store, names: list[str]) -> None:
    """Remove commit files and check that they are gone, because the files they name are removed next."""
    if not names:
        return
    store.remove_files(names)
    if left := {file.name for file in store.files(COMMITS)} & set(names):
        raise StoreError(f"{store.uri(min(left))} and {len(left) - 1} more could not be removed: nothing else was")


@dataclass(frozen=True)
class Forgotten(PendingDeletion):
    """Media of opted-out works in a file of normalised media that others need.

    `ranges`: (start, stop) byte ranges in it.
    """

    ranges: tuple[tuple[int, int], ...] = ()


def forgotten_media(store: Store, commits: Collection[Commit]) -> list[Forgotten]:
    """Media of opted-out works that remain among the normalised media that are kept."""
    opted_out = [commit.id for commit in commits if commit.kind == "forget"]
    if not opted_out:
        return []
    ingests = [commit.id for commit in commits if commit.kind == "ingest"]
    with Catalog(store).connect(only=[*ingests, *opted_out], tables=["ingested", "forgotten"]) as connection:
        rows = connection.execute(
            """select shard, list(("offset", "offset" + bytes) order by "offset") from (
                   select distinct shard, "offset", bytes from ingested semi join forgotten using (asset_id)
                   where shard is not null) group by shard order by shard"""
        ).fetchall()
    items = []
    for shard, ranges in rows:
        spans = [(start, stop) for start, stop in ranges]
        left = [span for span, data in zip(spans, store.read_ranges(shard, spans), strict=True) if any(data)]
        if left:
            size = sum(stop - start for start, stop in left)
            items.append(Forgotten("forgotten media", shard, size, FORGOTTEN, tuple(left)))
    return items


def blank(store: Store, item: Forgotten) -> None:
    """Overwrite byte ranges of a file with zeros. The other media in it keep their offsets."""
    content = bytearray(store.read_bytes(item.name))
    for start, stop in item.ranges:
        content[start:stop] = bytes(stop - start)
    store.write_bytes(item.name, bytes(content), durable=True)
