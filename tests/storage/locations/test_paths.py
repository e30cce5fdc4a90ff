"""A path that exists is that path, whatever its name holds; only then is it a pattern."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from codi2_storage.locations.paths import local_matches, matches, split_pattern
from codi2_storage.store import Store

ODD = ["a [b]", "a*b", "a?b", "a{b,c}", "c #1", "d%20e", "it's", "caf\u00e9 [\u00e9]", "~x", "a::b"]


@pytest.mark.parametrize("name", ODD)
def test_a_file_is_found_by_its_name_and_no_other_with_it(name: str, tmp_path: Path) -> None:
    for folder in (name, "axb", "a b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for file in (f"{name}.tar", "1.tar", "2.tar"):
            (tmp_path / folder / file).write_bytes(b"")
    for found in (lambda path: sorted(matches(LocalFileSystem(), path)), local_matches):
        assert found(f"{tmp_path}/{name}/{name}.tar") == [f"{tmp_path}/{name}/{name}.tar"]
        assert found(f"{tmp_path}/{name}/[12].tar") == [f"{tmp_path}/{name}/{n}.tar" for n in (1, 2)]
        assert f"{tmp_path}/axb/1.tar" in found(f"{tmp_path}/**/1.tar") and found(f"{tmp_path}/{name}/x*") == []


def test_a_pattern_may_have_marks_in_folders_and_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x [1]/a1/f.tar", "x [1]/a2/f.tar", "x 1/a1/f.tar"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert local_matches("x [1]/a*/f.tar") == ["x [1]/a1/f.tar", "x [1]/a2/f.tar"]
    assert local_matches("x*/a1/f.tar") == ["x 1/a1/f.tar", "x [1]/a1/f.tar"]
    assert split_pattern("x [1]/a*/f.tar", os.path.isdir) == ("x [1]", "a*/f.tar")
    assert split_pattern("no [1]/a*/f.tar", os.path.isdir) == ("", "no [1]/a*/f.tar")


def test_files_of_an_object_store_are_removed_by_their_names_alone(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}")
    for name in ("a [b]/x", "a b/x", "a*/x", "ab/x", "plain"):
        store.write_bytes(name, b"")
    store.remove_files(["a [b]/x", "a*/x", "gone"])
    assert store.list() == ["a b/x", "ab/x", "plain"]
    store.write_bytes("a [b]/y/z", b"")
    store.remove("a [b]")
    assert store.list() == ["a b/x", "ab/x", "plain"]
    (tmp_path / "made [1]").mkdir()
    (tmp_path / "made [1]" / "f").write_bytes(b"1")
    store.put_folder(tmp_path / "made [1]", "put [2]")
    assert store.read_bytes("put [2]/f") == b"1"


def test_patterns_of_object_stores_begin_with_folders_that_are_there(tmp_path: Path) -> None:
    fs, root = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    for name in ("v [2]/1.tar", "v [2]/2.tar", "v 2/1.tar"):
        fs.pipe_file(f"{root}/{name}", b"")
    assert sorted(matches(fs, f"{root}/v [2]/*.tar")) == [f"{root}/v [2]/1.tar", f"{root}/v [2]/2.tar"]
    assert sorted(matches(fs, f"{root}/v*/1.tar")) == [f"{root}/v 2/1.tar", f"{root}/v [2]/1.tar"]
