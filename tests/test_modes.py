"""Files take the umask's mode, whichever part writes them, and the umask itself is never set."""

from __future__ import annotations

import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codi2_datasets.exports import formats
from codi2_datasets.sources.archives import unpack
from codi2_datasets.sources.fetch import Fetched, remember
from codi2_model.training.checkpoint import Progress, State, save
from codi2_storage.locations.files import as_new, replacing, write_whole
from codi2_storage.store import Store
from tests.datasets.exports.test_exports import exported

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def wrong_modes(folder: Path, umask: int) -> dict[str, str]:
    """Files and folders below whose mode is not that of a new one."""
    found = {}
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode != (0o777 if path.is_dir() else 0o666) & ~umask:
            found[str(path.relative_to(folder))] = oct(mode)
    return found


def test_a_file_is_written_whole_with_the_mode_of_a_new_one(tmp_path: Path, umask: int) -> None:
    write_whole(tmp_path / "folder" / "bytes", b"one")
    write_whole(tmp_path / "text", "zwölf", durable=True)
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o600)
    with replacing(tmp_path / "old") as temporary:
        temporary.write_bytes(b"new")
        assert (tmp_path / "old").read_bytes() == b"old"
    with pytest.raises(RuntimeError), replacing(tmp_path / "never") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "old", "text"]
    assert (tmp_path / "old").read_bytes() == b"new" and (tmp_path / "text").read_text("utf-8") == "zwölf"
    assert not wrong_modes(tmp_path, umask)


def test_what_others_wrote_for_the_owner_alone_becomes_as_new(tmp_path: Path, umask: int) -> None:
    with tempfile.TemporaryDirectory() as private:
        (Path(private) / "sub").mkdir(0o700)
        (Path(private) / "sub" / "file").touch(0o600)
        Store(tmp_path / "root").put_folder(private, "runs/one")
    (tmp_path / "file").touch(0o600)
    as_new(tmp_path / "file")
    assert not wrong_modes(tmp_path, umask)


def test_a_store_a_cache_and_a_checkpoint_have_the_umasks_modes(tmp_path: Path, umask: int) -> None:
    import torch

    Store(tmp_path / "root").write_bytes("a/b/c.parquet", b"x", durable=True)
    archive = tmp_path / "in.tar"
    with tarfile.open(archive, "w") as tar:
        (tmp_path / "member").write_text("x")
        tar.add(tmp_path / "member", "package/member")
    unpack(archive, tmp_path / "cache" / "unpacked")
    remember(tmp_path / "cache", Fetched(tmp_path, "npm:a@1", "a", "1", "0" * 64), "a.tgz")

    class Saved:
        def save_pretrained(self, folder: Path, **_: object) -> None:
            (folder / "config.json").touch(0o600)

    progress = Progress("align", 1)
    save(tmp_path / "runs" / "1-align", Saved(), Saved(), progress, State({"a": 1}, {"b": torch.zeros(2)}))
    assert not {name: mode for name, mode in wrong_modes(tmp_path, umask).items() if "member" not in name}


@pytest.mark.parametrize("name", sorted(name for name, kind in formats().items() if kind.source is None))
def test_an_export_has_the_umasks_modes(name: str, tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        exported(name, tmp_path / "out")
    finally:
        os.umask(before)
    assert list((tmp_path / "out").rglob("*")) and not wrong_modes(tmp_path / "out", 0o002)


def test_nothing_sets_the_umask_or_makes_files_for_the_owner_alone() -> None:
    """`storage/locations/files.py` is where temporary files are made that are to stay; `folders.py` makes folders of sockets, which are
    the owner's alone."""
    private = re.compile(r"os\.umask|\bmkstemp\(|\bmkdtemp\(|delete=False")
    files = [
        file for folder in ("storage", "datasets", "codi2_model", "flows") for file in (ROOT / folder).rglob("*.py")
    ]
    files.remove(ROOT / "storage" / "host" / "folders.py")
    assert not [str(file) for file in files if private.search(file.read_text(encoding="utf-8"))]
