"""Build cache: results are made once, read after that, and kept as long as a build that stays names them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from codi2_storage.build_cache import BuildCache
from codi2_storage.commits.manifests import Writer
from codi2_storage.gc.collector import collect
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store

LATER = 4e9


def made_again() -> dict[str, pa.Table]:
    raise AssertionError("it is stored")


def test_a_result_is_made_once(tmp_path: Path) -> None:
    rows = pa.table({"a": [1, 2]})
    cache = BuildCache(Store(tmp_path))
    assert cache.tables("key", ["rows"], lambda: {"rows": rows}) == {"rows": rows}
    later = BuildCache(Store(tmp_path))
    assert later.tables("key", ["rows"], made_again) == {"rows": rows}
    assert later.blob("other", lambda: b"x") == b"x" and later.used == {"key", "other"}


def test_a_result_that_lacks_a_file_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tables = {name: pa.table({"a": [name]}) for name in ("one", "two")}
    BuildCache(store).tables("key", ["one", "two"], lambda: tables)
    store.remove("cache/key/two")
    assert BuildCache(store).tables("key", ["one", "two"], lambda: tables) == tables
    assert store.list("cache") == ["cache/key/one", "cache/key/two"]


def test_without_a_store_nothing_is_kept() -> None:
    cache = BuildCache()
    assert cache.blob("key", lambda: b"1") == b"1" and cache.blob("key", lambda: b"2") == b"2"


def test_garbage_collection_keeps_the_results_of_the_builds_that_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, keys in enumerate((["shared", "old"], ["shared", "new"])):
        cache = BuildCache(store)
        for key in keys:
            cache.blob(key, lambda: b"x")
        info = {"created_at": str(number), "recipe": "r", "cached": sorted(cache.used)}
        with Writer(store, f"b{number}", "build", info=info) as writer:
            writer.append("builds", [{"build_id": f"b{number}", "recipe": "r"}])
    found = collect(store, Policy(keep=1), now=LATER)
    assert store.list("cache") == ["cache/new/data", "cache/shared/data"]
    assert [item.name for item in found.going if item.kind == "cached result"] == ["cache/old/data"]
