"""Rollback to the previously promoted model."""

from __future__ import annotations

from pathlib import Path

import pytest

from codi2_model.checkpoints.registry import deploy, deployments, promote, promoted, roll_back, withdrawn
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


def in_place(store: Store) -> str:
    row = promoted(store)
    return str(row["checkpoint_id"]) if row else ""


def test_the_model_before_comes_back_and_nothing_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(UsageError, match="cannot roll back"):
        roll_back(store)
    promote(store, "aaa1", "/a", "first")
    with pytest.raises(UsageError, match="aaa1 is the first"):
        roll_back(store)
    promote(store, "bbb2", "/b", "better")
    promote(store, "ccc3", "/c", "better still")
    assert roll_back(store)["uri"] == "/b" and in_place(store) == "bbb2"
    assert roll_back(store, "aaa")["checkpoint_id"] == "aaa1" and in_place(store) == "aaa1"
    with pytest.raises(UsageError, match="ddd was not promoted before"):
        roll_back(store, "ddd")
    rows = Catalog(store).sql("select reason, since, until from deployments order by since").to_pylist()
    assert [row["reason"] for row in rows][3:] == ["rolled back from ccc3", "rolled back from bbb2"]
    assert [row["until"] for row in rows] == [*(row["since"] for row in rows[1:]), None]


def test_what_was_rolled_back_from_stays_withdrawn_until_it_is_put_in_place_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    promote(store, "aaa1", "/a", "first")
    promote(store, "bbb2", "/b", "better")
    assert withdrawn(store, "aaa1") is None and withdrawn(store, "bbb2") is None
    roll_back(store)
    assert withdrawn(store, "bbb2") and withdrawn(store, "aaa1") is None
    roll_back(store, "bbb2")
    assert withdrawn(store, "bbb2") is None and withdrawn(store, "aaa1") is not None


def test_a_clock_set_back_does_not_bring_an_old_model_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    promote(store, "aaa1", "/a", "first")
    monkeypatch.setattr("codi2_model.checkpoints.registry.now", lambda: "2001-01-01T00:00:00.000000+00:00")
    promote(store, "bbb2", "/b", "better")
    promote(store, "ccc3", "/c", "better still")
    assert in_place(store) == "ccc3"


def test_what_a_server_serves_ends_with_the_next_row_or_with_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day, identity in ((1, "aaa1"), (2, "bbb2"), (3, None)):
        deploy(store, "serve-8000", identity, None, f"2026-01-0{day}", "tried")
    promote(store, "ccc3", "/c", "first")
    rows = deployments(store, "serve-8000")
    assert [(row["checkpoint_id"], row["until"]) for row in rows] == [("bbb2", "2026-01-03"), ("aaa1", "2026-01-02")]
    assert in_place(store) == "ccc3"
