from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from codi2_datasets.sources import file_hashes
from codi2_datasets.sources.file_hashes import cached_file_hash, file_hash


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, with a cache of its own."""
    names: list[str] = []
    monkeypatch.setenv("CODI2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "file_hash", lambda path: names.append(Path(path).name) or file_hash(path))
    monkeypatch.setattr(file_hashes, "SETTLED", -60.0)
    return names


def test_a_file_is_read_again_only_after_a_change(tmp_path: Path, read: list[str]) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    stamp = file.stat()
    assert cached_file_hash(file) == cached_file_hash(file) == file_hash(file) and read == ["a.bin"]
    time.sleep(0.02)
    file.write_bytes(b"two")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # the same size and modification time
    assert cached_file_hash(file) == file_hash(file) and read == ["a.bin"] * 2


def test_a_file_that_changed_just_now_is_not_cached(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "SETTLED", 60.0)
    (tmp_path / "a.bin").write_bytes(b"one")
    assert cached_file_hash(tmp_path / "a.bin") == cached_file_hash(tmp_path / "a.bin") and len(read) == 2


@pytest.mark.parametrize("damage", [b"not a database" * 100, None])
def test_without_a_usable_cache_files_are_read(damage: bytes | None, tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "a.bin").write_bytes(b"one")
    cache = tmp_path / "cache"
    if damage is None:
        cache.write_bytes(b"a file where the folder should be")
    else:
        cache.mkdir()
        (cache / "hashes.sqlite").write_bytes(damage)
        with pytest.raises(sqlite3.DatabaseError):
            file_hashes.database(cache / "hashes.sqlite")
    assert cached_file_hash(tmp_path / "a.bin") == file_hash(tmp_path / "a.bin") and read == ["a.bin"]


def test_a_missing_file_is_an_error(tmp_path: Path, read: list[str]) -> None:
    with pytest.raises(FileNotFoundError):
        cached_file_hash(tmp_path / "none")
