"""Small tables held in memory: as the catalog has them, after every change, each file read once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_storage.catalog import table_cache
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.table_cache import TableCache
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

TABLES = ("runs", "deployments", "gates")


def put(store: Store, run_id: str, status: str) -> None:
    with Writer(store, run_id, "run") as writer:
        writer.append("runs", [{"run_id": run_id, "status": status}])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["running", "completed"])), max_size=8))
def test_what_is_held_is_what_the_catalog_shows(tmp_path_factory: pytest.TempPathFactory, written: list) -> None:
    store, reader = Store(str(tmp_path_factory.mktemp("root"))), TableCache(TABLES)
    for run_id, status in written:
        put(store, run_id, status)
        catalog = Catalog(store)
        query = "select * from runs order by run_id"
        with catalog.connect(all_builds=True) as shown, reader.read(catalog) as held:
            assert held.execute(query).fetchall() == shown.execute(query).fetchall()


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, reader, asked = Store(str(tmp_path)), TableCache(TABLES), []
    read = table_cache.rows_of
    monkeypatch.setattr(table_cache, "rows_of", lambda store, file: asked.append(file.path) or read(store, file))
    for name in ("one", "two"):
        put(store, name, "running")
        reader.read(Catalog(store)).close()
    put(store, "one", "completed")
    with reader.read(Catalog(store)) as held:
        assert held.execute("select run_id, status from runs order by 1").fetchall() == [
            ("one", "completed"),
            ("two", "running"),
        ]
    assert len(asked) == len(set(asked)) == 3


def test_deployments_are_told_until_when(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name, since in (("a", "2026-01-01"), ("b", "2026-01-02")):
        with Writer(store, name, "deployment") as writer:
            writer.append("deployments", [{"name": "default", "checkpoint_id": name, "since": since}])
    with TableCache(TABLES).read(Catalog(store)) as held:
        found = held.execute("select checkpoint_id, until from deployments order by since").fetchall()
    assert found == [("a", "2026-01-02"), ("b", None)]
