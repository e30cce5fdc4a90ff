"""Collection: what is wanted stays whole, what nobody needs goes, whatever happened before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.catalog.lineage import explain
from codi2_storage.commits.manifests import commits
from codi2_storage.coordination.active_runs import COLLECTOR, Busy, wait_for_collector
from codi2_storage.coordination.leases import lease
from codi2_storage.gc.collector import Plan, collect, plan
from codi2_storage.gc.compact import compact
from codi2_storage.gc.pins import pin, pins, unpin
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store
from tests.storage.gc.roots import DAY, LATER, build, forget, partition, promote, train, whole


def kinds(found: Plan) -> dict[str, int]:
    """How many of each kind go."""
    counts: dict[str, int] = {}
    for item in found.going:
        counts[item.kind] = counts.get(item.kind, 0) + 1
    return counts


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "root" if request.param == "local" else f"memory://{tmp_path.name}")
    for n in range(5):
        partition(store, f"p{n}")
        build(store, f"b{n}", "nightly", [f"p{n}"])
        train(store, f"train-{n}", f"b{n}")
    promote(store, "ck-train-1", "1")
    yield store


def names(store: Store, kind: str) -> set[str]:
    return {commit.id for commit in commits(store, kind)}


def test_the_newest_builds_and_what_live_models_stand_on_stay_and_the_rest_goes(store: Store) -> None:
    store.write_bytes("notes/mine.txt", b"not ours")
    asked = plan(store, Policy(keep=2), now=LATER)
    assert names(store, "build") == {f"b{n}" for n in range(5)}
    done = collect(store, Policy(keep=2), now=LATER)
    assert done.going == asked.going and kinds(done) == kinds(asked)
    assert names(store, "build") == {"b1", "b3", "b4"}
    assert {name for name in names(store, "run") if name.startswith("train")} == {"train-1", "train-3", "train-4"}
    assert {name for name in names(store, "run") if name.startswith("eval")} == {
        f"evaluation-train-{n}" for n in (1, 3, 4)
    }
    assert {name for name in names(store, "ingest") if "-" not in name} == {"p1", "p3", "p4"}
    left = {file.name for file in store.files()}
    assert (
        not any(part in name for name in left for part in ("p0", "=b2", "train-2", "builds/b2"))
        and "notes/mine.txt" in left
    )
    whole(store)
    assert not collect(store, Policy(keep=2), now=LATER).going
    for build_id in ("b1", "b3", "b4"):
        assert explain(store.root, f"s-{build_id}", build_id)["sample"]["build_id"] == build_id


def test_what_is_pinned_stays_until_it_is_unpinned(store: Store) -> None:
    assert pin(store, "b0", "the paper's").kind == "build" and pin(store, "ck-train-2").kind == "checkpoint"
    collect(store, Policy(keep=1, models=1), now=LATER)
    assert names(store, "build") == {"b0", "b1", "b2", "b4"} and "train-2" in names(store, "run")
    assert [(one.target, one.reason) for one in pins(Catalog(store))] == [("b0", "the paper's"), ("ck-train-2", "")]
    unpin(store, "b0")
    collect(store, Policy(keep=1, models=1), now=LATER)
    assert names(store, "build") == {"b1", "b2", "b4"}
    with pytest.raises(CatalogError, match="no build or checkpoint 'b3'"):
        pin(store, "b3")
    with pytest.raises(CatalogError, match=r"no pin 'b0'.*; pinned: ck-train-2"):
        unpin(store, "b0")
    with pytest.raises(CatalogError, match="several begin with 'ck-"):
        pin(store, "ck-")


def test_the_model_before_the_present_one_stays_too_for_a_way_back(store: Store) -> None:
    promote(store, "ck-train-3", "2")
    collect(store, Policy(keep=1, models=2), now=LATER)
    assert names(store, "build") == {"b1", "b3", "b4"}
    collect(store, Policy(keep=1, models=1), now=LATER)
    assert names(store, "build") == {"b3", "b4"}


def test_the_weights_that_a_live_model_began_with_stay(store: Store) -> None:
    train(store, "train-9", "b4", start="ck-train-0")
    promote(store, "ck-train-9", "2")
    collect(store, Policy(keep=1, models=1), now=LATER)
    assert "train-0" in names(store, "run") and "b0" in names(store, "build") and "train-1" not in names(store, "run")


def test_what_is_young_and_named_by_nothing_stays_for_the_grace_period(store: Store) -> None:
    partition(store, "unused")
    store.write_bytes("shards/t/train-crashed.tar", b"half a build")
    store.write_bytes("catalog/samples/build=crashed/1.parquet", b"never committed")
    store.write_bytes("assets/.p9.tar.12345678.part", b"half")
    store.write_bytes("builds/crashed/ingests.json", b"[]")
    found = collect(store, Policy(keep=9, grace=DAY))
    assert not found.going and {item.kind for item in found.waiting} == {
        "shard", "manifest", "unfinished file", "pages of a build"
    }  # fmt: skip
    assert "unused" in names(store, "ingest")
    assert kinds(collect(store, Policy(keep=9, grace=DAY), now=LATER)) == {
        "ingest": 3, "shard": 1, "manifest": 5, "unfinished file": 1, "pages of a build": 1, "normalised media": 1
    }  # fmt: skip
    whole(store)


def test_forgotten_media_go_and_the_opt_out_stays(store: Store) -> None:
    pin(store, "b2")
    forget(store, "p4-0")
    forget(store, "p2-1")
    assert ("build", "b4") in plan(store, Policy(keep=2), now=LATER).kept  # until another takes its place
    build(store, "b5", "nightly", ["p3"])
    asked = plan(store, Policy(keep=2), now=LATER)
    collect(store, Policy(keep=2), now=LATER)
    assert names(store, "forget") == {"forget-p4-0", "forget-p2-1"}
    assert names(store, "build") == {"b1", "b2", "b3", "b5"}  # b4 shows p4-0
    assert "shows works whose owners opted out" in {row["why"] for row in asked.table()}
    assert store.read_bytes("assets/p2.tar") == b"p2" + bytes(2) + b"p2p2"  # the second of its media, at 2, is blank
    whole(store)
    assert not collect(store, Policy(keep=2), now=LATER).going


def test_nothing_is_removed_beside_a_run_that_lives(store: Store) -> None:
    with lease(store, "build-x", about="a build of demo"), pytest.raises(Busy, match="a build of demo"):
        collect(store, Policy(keep=1), now=LATER)
    assert len(names(store, "build")) == 5
    with lease(store, "run-serve-model-20260101T000000-abcd"):
        assert collect(store, Policy(keep=1), now=LATER).going


def test_a_build_waits_for_a_collection(store: Store) -> None:
    import threading

    with lease(store, COLLECTOR):
        waiting = threading.Thread(target=wait_for_collector, args=(store,))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_packed_commits_are_collected_as_loose_ones_are(store: Store) -> None:
    compact(store, least=1)
    partition(store, "late")
    build(store, "b8", "nightly", ["p4", "late"])
    assert not any(item.kind in ("commit", "pack") for item in plan(store, Policy(keep=9, grace=DAY)).going)
    collect(store, Policy(keep=1, grace=0), now=LATER)
    assert names(store, "build") == {"b1", "b8"}
    assert {name for name in names(store, "ingest") if "-" not in name} == {"p1", "p4", "late"}
    whole(store)
    assert not collect(store, Policy(keep=1, grace=0), now=LATER).going
    assert [name for name in store.list("catalog/commits/ingest") if "late" not in name] == []
    with Catalog(store).connect("b8") as connection:
        assert connection.execute("select count(*) from ingested").fetchall() == [(4,)]
    compact(store, least=1)
    whole(store)


KILLED = """
import os, sys
from codi2_storage import store as module
from codi2_storage.gc.collector import collect
from codi2_storage.gc.retention import Policy
root, left = sys.argv[1], int(sys.argv[2])
plain = module.Path.unlink

def unlink(path, missing_ok=False):
    global left
    if "leases" not in str(path):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
    plain(path, missing_ok=missing_ok)

module.Path.unlink = unlink
collect(module.Store(root), Policy(keep=1, grace=0), now=4e9)
"""


@pytest.mark.parametrize("after", [0, 5, 16, 40])
def test_a_collection_killed_at_any_removal_leaves_a_whole_catalog_and_the_next_finishes(
    tmp_path: Path, after: int
) -> None:
    import subprocess
    import sys

    store = Store(tmp_path)
    for n in range(4):
        partition(store, f"p{n}")
        build(store, f"b{n}", "r", [f"p{n}"])
        train(store, f"train-{n}", f"b{n}")
    compact(store, least=1)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(after)], timeout=60, check=False)
    assert killed.returncode == -9
    whole(store)
    collect(store, Policy(keep=1, grace=0), now=LATER)
    whole(store)
    assert names(store, "build") == {"b3"} and not collect(store, Policy(keep=1, grace=0), now=LATER).going
    assert {file.name.split("/")[1] for file in store.files("assets")} == {"p3.tar"}


@dataclass
class History:
    """What happened to a root."""

    store: Store
    partitions: int = 0
    builds: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    def happen(self, what: str, number: int) -> None:
        if what == "partition" or not self.partitions:
            partition(self.store, f"p{self.partitions}")
            self.partitions += 1
        elif what == "build" or not self.builds:
            of = sorted({f"p{n % self.partitions}" for n in (number, number + 1)})
            for name in set(of) - names(self.store, "ingest"):  # a build ingests again what was collected
                partition(self.store, name)
            build(self.store, f"b{len(self.builds):03d}", "ab"[number % 2], of)
            self.builds.append(f"b{len(self.builds):03d}")
        elif what == "compact":
            compact(self.store, least=1)
        elif what == "forget":
            forget(self.store, f"p{number % self.partitions}-{number % 2}")
        elif what == "pin":
            known = sorted(names(self.store, "build"))
            if known:
                pin(self.store, known[number % len(known)])
        elif what == "collect":
            collect(self.store, Policy(keep=1 + number % 2, models=1, grace=0), now=LATER)
        elif what == "train" or not self.runs:
            known = sorted(names(self.store, "build"))
            if known:
                name = f"train-{len(self.runs)}"
                start = f"ck-{self.runs[number % len(self.runs)]}" if self.runs and number % 2 else None
                train(self.store, name, known[number % len(known)], start)
                self.runs.append(name)
        else:
            promote(self.store, f"ck-{self.runs[number % len(self.runs)]}", f"{len(commits(self.store)):05d}")


EVENTS = ("partition", "build", "build", "train", "promote", "pin", "forget", "compact", "collect")


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # shrinking is slow
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 11)), min_size=4, max_size=14), st.integers(1, 3))
def test_after_any_history_what_stays_is_whole_and_nothing_pinned_is_gone(events: list[Any], keep: int) -> None:
    store = Store("memory://history")
    store.remove("")
    history = History(store)
    for what, number in events:
        history.happen(what, number)
    pinned = {one.target for one in pins(Catalog(store))} & names(store, "build")
    policy = Policy(keep=keep, grace=0)
    asked = plan(store, policy, now=LATER)
    done = collect(store, policy, now=LATER)
    assert sorted(map(str, asked.going)) == sorted(map(str, done.going))
    assert pinned <= names(store, "build")
    whole(store)
    for build_id in names(store, "build"):
        catalog = Catalog(store)
        assert catalog.sql("select count(*) as n from samples", build=build_id).to_pylist() == [{"n": 1}]
        assert explain(store.root, f"s-{build_id}", build_id)["parts"][0]["asset"]["source_row"]["corpus"] == "c"
    assert not collect(store, policy, now=LATER).going


def test_a_bucket_is_collected_in_bulk(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"{bucket}/root")
    for n in range(3):
        partition(store, f"p{n}")
        build(store, f"b{n}", "r", [f"p{n}"])
    compact(store, least=1)
    asked = []
    monkeypatch.setattr(store.fs, "rm", lambda paths, rm=store.fs.rm: asked.append(len(paths)) or rm(paths))
    collect(store, Policy(keep=1, grace=0), now=LATER)
    assert names(store, "build") == {"b2"} and max(asked) > 20
    whole(store)
    assert not collect(store, Policy(keep=1, grace=0), now=LATER).going
