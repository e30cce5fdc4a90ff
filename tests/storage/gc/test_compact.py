"""Compaction: few files instead of many, and nobody sees a difference."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_storage.catalog.catalog import Catalog, joined
from codi2_storage.commits.manifests import Writer, commits, committed, read_rows
from codi2_storage.gc.compact import compact
from codi2_storage.store import Store

TABLES = ("ingested", "signals", "rejects")


def partition(store: Store, name: str, rows: int) -> None:
    with Writer(store, name, "ingest", info={"corpus": name[0], "modalities": ["image"]}) as writer:
        writer.append("ingested", [{"asset_id": f"{name}-{n}", "corpus": name[0], "bytes": n} for n in range(rows)])
        writer.append("signals", [{"asset_id": f"{name}-{n}", "vector": [n, 0.5]} for n in range(0, rows, 2)])
        writer.append("rejects", [{"build_id": name, "subject": "x"}] if rows % 3 == 0 else [])


def build(store: Store, name: str, uses: list[str]) -> None:
    with Writer(store, name, "build", uses=uses, info={"created_at": name, "recipe": "r"}) as writer:
        writer.append("builds", [{"build_id": name, "recipe": "r"}])


def seen(store: Store, name: str) -> list[list[tuple]]:
    """Every row that a build sees."""
    with Catalog(store).connect(name) as connection:
        return [sorted(connection.execute(f"select * from {table}").fetchall(), key=str) for table in TABLES]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for n in range(20):
        partition(store, f"{'ab'[n % 2]}-p{n:02d}", n + 1)
    build(store, "all", [commit.id for commit in commits(store, "ingest")])
    build(store, "some", ["a-p00", "b-p01", "b-p13", "a-p14"])
    return store


def test_builds_see_what_they_saw_in_few_files(store: Store) -> None:
    before = {name: seen(store, name) for name in ("all", "some")}
    done = compact(store)
    assert done.commits == 20 and done.files_before > 40 and done.files_after == len(TABLES)
    assert {name: seen(store, name) for name in ("all", "some")} == before
    for path in (Path(store.base) / "catalog/commits/ingest").iterdir():
        path.unlink()  # as a later collection does
    assert {name: seen(store, name) for name in ("all", "some")} == before
    found = committed(store, "b-p13", "ingest")
    assert found is not None and found.info["corpus"] == "b"
    rows = read_rows(store, [file for file in found.files if file.table == "ingested"], ["asset_id"])
    assert rows["asset_id"].to_pylist() == [f"b-p13-{n}" for n in range(14)]


def test_a_second_compaction_has_nothing_to_do_and_later_ones_take_what_came(store: Store) -> None:
    compact(store)
    assert compact(store).commits == 0
    for n in range(20, 60):
        partition(store, f"a-p{n}", 3)
        build(store, f"build{n}", [commit.id for commit in commits(store, "ingest")])
        compact(store, least=1)
    assert len(list((Path(store.base) / "catalog/commits/pack").iterdir())) > 8
    with Catalog(store).connect("build59", tables=["ingested"]) as connection:
        assert connection.execute("select count(*) from ingested").fetchall() == [(sum(range(21)) + 120,)]
    assert len({file.path for commit in commits(store, "ingest") for file in commit.files}) < 9 * len(TABLES)


def test_a_damaged_pack_is_named(store: Store) -> None:
    store.write_bytes("catalog/commits/pack/bad.json", b"{}")
    with pytest.raises(ValueError, match=r"damaged commit file .*bad\.json"):
        Catalog(store)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sets(st.integers(0, 11)), st.booleans())
def test_any_selection_of_commits_reads_as_before(sizes: list[int], chosen: set[int], twice: bool) -> None:
    store = Store("memory://compaction")
    store.remove("")
    for n, size in enumerate(sizes):
        partition(store, f"a-p{n:02d}", size)
        if twice and n == len(sizes) // 2:
            compact(store, least=1)
    build(store, "b", [f"a-p{n:02d}" for n in chosen])
    before = seen(store, "b")
    compact(store, least=1)
    store.remove("catalog/commits/ingest")
    assert seen(store, "b") == before


@given(st.sets(st.tuples(st.integers(0, 30), st.integers(1, 5))))
def test_joined_ranges_hold_the_same_numbers(ranges: set[tuple[int, int]]) -> None:
    found = joined((start, start + size) for start, size in ranges)
    assert {n for a, b in found for n in range(a, b)} == {
        n for start, size in ranges for n in range(start, start + size)
    }
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(found))
