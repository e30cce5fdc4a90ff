"""Going back to the model that was in place before."""

from __future__ import annotations

from pathlib import Path

import pytest

from codi2_model.checkpoints import UsageError, promote, promoted, roll_back
from codi2_storage.catalog import Catalog
from codi2_storage.store import Store


def in_place(store: Store) -> str:
    row = promoted(store)
    return str(row["checkpoint_id"]) if row else ""


def test_the_model_before_comes_back_and_nothing_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(UsageError, match="nothing to go back to"):
        roll_back(store)
    promote(store, "aaa1", "/a", "first")
    with pytest.raises(UsageError, match="aaa1 is the first"):
        roll_back(store)
    promote(store, "bbb2", "/b", "better")
    promote(store, "ccc3", "/c", "better still")
    assert roll_back(store)["uri"] == "/b" and in_place(store) == "bbb2"
    assert roll_back(store, "aaa")["checkpoint_id"] == "aaa1" and in_place(store) == "aaa1"
    with pytest.raises(UsageError, match="ddd was never in place"):
        roll_back(store, "ddd")
    reasons = Catalog(store).sql("select reason from deployments order by since").to_pylist()
    assert [row["reason"] for row in reasons][3:] == ["rolled back from ccc3", "rolled back from bbb2"]
