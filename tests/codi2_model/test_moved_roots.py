"""Models of a root that was moved within a bucket, or copied out of or into it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codi2_model.checkpoints.lookup import find_trained
from codi2_model.checkpoints.registry import TrainedRun, checkpoint_rows, local_copy, promote, promoted, record, resolve
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store


def trained(store: Store, cache: Path, value: float) -> str:
    """A recorded and promoted run whose weights have one value."""
    final = cache / "runs/train-1/final" if not store.is_local else Path(store.path("runs/train-1/final"))
    final.mkdir(parents=True, exist_ok=True)
    (final / "config.json").write_text("{}")
    save_file({"x": torch.tensor([value])}, final / "model.safetensors")
    identity = record(store, TrainedRun("train-1", "build-1", {}, 1, 1.0), final, [])
    promote(store, identity, checkpoint_rows(store)[0]["uri"], "first")
    return identity


@pytest.fixture(params=["local", "bucket", "memory"])
def roots(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    """Old and new location of a root."""
    base = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    if request.param == "bucket":
        base = f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return Store(f"{base}/one/"), Store(f"{base}/deeper/two")


def copied(one: Store, two: Store) -> None:
    for name in one.list():
        two.write_bytes(name, one.read_bytes(name))


def test_a_moved_root_has_its_model_with_it(
    roots: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODI2_CACHE", str(tmp_path / "cache"))
    one, two = roots
    identity = trained(one, tmp_path / "cache", 1.0)
    assert checkpoint_rows(one)[0]["uri"] == one.uri("runs/train-1/final")
    copied(one, two)
    one.remove("")
    for table in ("runs", "checkpoints", "deployments"):
        uris = Catalog(two).sql(f"select distinct uri from {table}").to_pylist()
        assert uris == [{"uri": "runs/train-1" if table == "runs" else "runs/train-1/final"}]
    row = promoted(two)
    assert row and row["uri"] == two.uri("runs/train-1/final")
    for name in (None, identity, "runs/train-1/final", two.uri("runs/train-1/final")):
        assert (resolve(two.uri(), name) / "model.safetensors").is_file()
    for name in ("promoted", "runs/train-1/final", two.uri("runs/train-1/final")):
        assert find_trained(two, name).checkpoint["uri"] == two.uri("runs/train-1/final")


def test_another_root_at_the_place_of_one_that_moved_has_its_own_weights(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODI2_CACHE", str(tmp_path / "cache"))
    result = []
    for value in (1.0, 2.0):
        store = Store(f"{bucket}/{tmp_path.name}/root")
        store.remove("")
        trained(store, tmp_path / "cache", value)
        result.append((resolve(store.uri(), None) / "model.safetensors").read_bytes())
    assert result[0] != result[1]
    with pytest.raises(FileNotFoundError, match="no files at this location"):
        local_copy(f"{bucket}/{tmp_path.name}/nothing")
