"""Two builds side by side: what came, what went, what stayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codi2_storage.catalog import CatalogError
from codi2_storage.diff import diff
from codi2_storage.manifests import Writer
from codi2_storage.store import Store


def publish(store: Store, build: str, seed: int, samples: list[str], content: str) -> None:
    with Writer(store, f"c-{build}", "ingest") as writer:
        writer.append("source_rows", [{"source_row_id": build, "corpus": "c", "locator": "x", "sha256": content}])
        writer.append("corpora", [{"corpus": "c", "revision": content}])
    with Writer(store, build, "build", uses=[f"c-{build}"], info={"created_at": build}) as writer:
        writer.append("builds", [{"build_id": build, "spec": json.dumps({"seed": seed, "image": {"size": 64}})}])
        writer.append("samples", [{"build_id": build, "sample_id": s, "task": "t", "split": "train"} for s in samples])


def test_what_differs_is_told_and_nothing_else(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    publish(store, "one", 1, ["a", "b", "c"], "old")
    publish(store, "two", 2, ["b", "c", "d", "e"], "new")
    found = diff(str(tmp_path), "one", "two")
    assert found.recipe == [{"name": "seed", "old": 1, "new": 2}]
    assert found.corpora == [{"name": "c", "old": "old", "new": "new"}]
    assert found.source_rows == [{"name": "c", "kept": 0, "added": 0, "removed": 0, "changed": 1}]
    assert found.samples == [{"name": "t train", "kept": 2, "added": 2, "removed": 1, "changed": 0}]
    assert found.rejects == found.shards == []
    same = diff(str(tmp_path), "two", "two").to_dict()
    assert not any(same.values())


def test_a_build_that_is_not_there_is_named(tmp_path: Path) -> None:
    publish(Store(str(tmp_path)), "one", 1, ["a"], "x")
    with pytest.raises(CatalogError, match="three"):
        diff(str(tmp_path), "one", "three")
