"""URIs inside a root: stored relative to it, opened wherever the root lies now, in whatever spelling it is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.coordination.run_parameters import portable, present
from codi2_storage.store import Store
from codi2_storage.uris import absolute, identity, located, relative

NAME = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda name: name.strip(".") and "://" not in name
)
NAMES = st.lists(NAME, min_size=1, max_size=4).map("/".join)


@pytest.fixture
def spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ways to name one root: whole, relative, with a slash, through a link, up and down again, as a URI."""
    root = tmp_path / "the root"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    return [
        str(root), "the root", "./the root", "the root/", f"{root}//", "link", str(tmp_path / "link/"),
        "the root/../the root", f"file://{root}",
    ]  # fmt: skip


def test_a_root_is_the_same_in_every_spelling(spellings: list[str]) -> None:
    assert len({identity(Store(root)) for root in spellings}) == 1
    for root in spellings:
        for other in spellings:
            assert relative(Store(root), f"{other.rstrip('/')}/runs/train-1/final") == "runs/train-1/final"
            assert relative(Store(root), other) == "."
        opened = absolute(Store(root), "runs/train-1")
        assert os.path.isabs(opened) and os.path.realpath(opened) == f"{os.path.realpath(spellings[0])}/runs/train-1"


@pytest.mark.parametrize("root", ["s3://bucket/root", "s3://bucket/root/", "memory://root", "memory://root/"])
def test_a_root_in_an_object_store_is_the_same_with_and_without_a_slash(root: str) -> None:
    store, whole = Store(root), root.rstrip("/")
    assert identity(store) == identity(Store(whole)) and relative(store, f"{whole}/") == "."
    assert relative(store, f"{whole}/runs/a/final/") == "runs/a/final"
    assert Store(absolute(store, "runs/a")).base == store.path("runs/a")
    assert relative(store, f"{whole}2/runs/a") == f"{whole}2/runs/a"
    assert relative(store, "/a/folder") == "/a/folder" and absolute(store, "/a/folder") == "/a/folder"


@given(NAMES, NAMES)
def test_what_lies_inside_follows_the_root_and_what_lies_elsewhere_stays(name: str, other: str) -> None:
    one, two = Store("/nowhere/one"), Store("/elsewhere/two")
    stored = relative(one, one.uri(name))
    assert stored == name and absolute(one, stored) == one.uri(name) and absolute(two, stored) == two.uri(name)
    outside = f"/nowhere/one{other}"
    assert relative(one, outside) == outside and absolute(two, outside) == outside


def test_a_folder_of_the_root_that_is_a_link_to_another_disk_is_inside(tmp_path: Path) -> None:
    (tmp_path / "disk/runs").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/runs").symlink_to(tmp_path / "disk/runs")
    assert relative(Store(tmp_path / "root"), str(tmp_path / "root/runs/a")) == "runs/a"


def test_a_relative_path_counts_from_the_working_folder_and_where_nothing_lies_there_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "root")
    store.write_bytes("runs/a/config.json", b"{}")
    (tmp_path / "here/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert relative(store, "runs/a") == "runs/a"
    assert relative(store, "model") == str(tmp_path / "here/model")
    assert relative(store, "../root/runs/a") == "runs/a"


def test_a_row_is_opened_in_the_root_that_holds_it(tmp_path: Path) -> None:
    two = Store(tmp_path / "two")
    assert located(two, {"uri": "runs/a", "step": 3}) == {"uri": two.uri("runs/a"), "step": 3}
    assert located(two, {"uri": None}) == {"uri": None} and located(two, {"step": 3}) == {"step": 3}
    assert absolute(two, "/models/train-1/final") == "/models/train-1/final"


@pytest.mark.parametrize("table", ["runs", "checkpoints", "deployments", "generations"])
def test_every_table_with_uris_stores_them_relative_to_the_root(tmp_path: Path, table: str) -> None:
    store = Store(tmp_path / "root")
    with Writer(store, "one", "run") as writer:
        rows = [{"uri": store.uri("runs/a")}, {"uri": "/elsewhere/b"}, {"uri": None}]
        if table == "deployments":
            rows = [{**row, "name": str(n), "checkpoint_id": "c"} for n, row in enumerate(rows)]
        writer.append(table, rows)
    found = {row["uri"] for row in Catalog(store).sql(f"select uri from {table}").to_pylist()}
    assert found == {"runs/a", "/elsewhere/b", None}


@pytest.mark.parametrize("name", ["two words", "it's", "x[1]", "a*b", "a?b", "a::b", "ä#%20"])
def test_a_root_with_any_name_is_read_itself_and_never_its_copy(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    with Writer(store, "run-1", "run") as writer:
        writer.append("runs", [{"run_id": "run-1", "uri": store.uri("runs/run-1")}])
    assert (tmp_path / name / "catalog").is_dir()
    for copy in ("x1", "aXb"):  # what the names would match as patterns
        shutil.copytree(tmp_path / name, tmp_path / copy)
    assert Catalog(store).sql("select uri from runs").to_pylist() == [{"uri": "runs/run-1"}]


def test_parameters_of_runs_do_not_say_where_the_root_lies(spellings: list[str], tmp_path: Path) -> None:
    kept = [
        portable(
            Store(root),
            {
                "root": root, "recipe": "demo", "checkpoint": f"{root}/runs/a/final", "out": f"{root}/out", "limit": 3,
                "requests": str(tmp_path / "r.jsonl"), "metric": ["text_to_image:clip"], "build": None,
            },
        )
        for root in spellings
    ]  # fmt: skip
    assert kept == [
        {
            "root": "{root}", "recipe": "demo", "checkpoint": "{root}/runs/a/final", "out": "{root}/out", "limit": 3,
            "requests": str(tmp_path / "r.jsonl"), "metric": ["text_to_image:clip"], "build": None,
        }
    ] * len(spellings)  # fmt: skip
    now = present(Store("s3://bucket/moved/"), kept[0])
    assert now["root"] == "s3://bucket/moved" and now["checkpoint"] == "s3://bucket/moved/runs/a/final"
    assert now["recipe"] == "demo" and now["requests"] == str(tmp_path / "r.jsonl")


def test_a_recipe_keeps_its_name_where_the_root_is_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "own.yaml").write_text("name: own")
    given = {"root": ".", "recipe": "demo", "config": Path("own.yaml"), "out": "out", "start": "scratch"}
    kept = portable(Store("."), given)
    assert kept == {
        "root": "{root}", "recipe": "demo", "config": "{root}/own.yaml", "out": "{root}/out", "start": "scratch",
    }  # fmt: skip
