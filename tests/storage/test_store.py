"""The store: atomic, any fsspec URI, errors that say what to do."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codi2_storage.store import Store, StoreError, explained


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "root" if request.param == "local" else f"memory://{tmp_path.name}")


def test_what_is_written_is_read(store: Store) -> None:
    store.write_bytes("a/b.bin", b"0123456789")
    assert store.read_bytes("a/b.bin") == b"0123456789"
    assert store.read_ranges("a/b.bin", [(2, 4), (0, 1), (8, 10)]) == [b"23", b"0", b"89"]
    assert store.exists("a/b.bin") and not store.exists("a/c.bin")


def test_listing_is_sorted_relative_and_empty_for_a_missing_folder(store: Store) -> None:
    for name in ("z.txt", "a/y.txt", "a/x.txt"):
        store.write_bytes(name, b"")
    assert store.list() == ["a/x.txt", "a/y.txt", "z.txt"]
    assert store.list("a") == ["a/x.txt", "a/y.txt"]
    assert store.list("nowhere") == []


def test_what_other_systems_leave_in_a_root_is_not_listed(store: Store) -> None:
    for name in ("a/x.json", "a/._x.json", ".DS_Store", "a/Thumbs.db", "__MACOSX/a/x.json", ".nv-meta/x"):
        store.write_bytes(name, b"")
    assert store.list() == [".nv-meta/x", "a/x.json"] and store.list("a") == ["a/x.json"]


def test_a_store_survives_pickling(store: Store) -> None:
    store.write_bytes("x", b"1")
    assert pickle.loads(pickle.dumps(store)).read_bytes("x") == b"1"


def test_a_folder_appears_whole(store: Store, tmp_path: Path) -> None:
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "deep" / "f").write_bytes(b"1")
    store.put_folder(tmp_path / "made", "runs/one")
    assert store.list("runs") == ["runs/one/deep/f"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StoreError, match=r"disk is full: .*f\.bin"):
        Store(tmp_path).write_bytes("f.bin", b"data")
    assert list(tmp_path.iterdir()) == []


def test_errors_keep_their_number_and_name_the_file() -> None:
    error = explained(OSError(errno.EACCES, "denied"), "/data/x")
    assert error.errno == errno.EACCES and "/data/x" in str(error)


WRITER = """
import sys
from codi2_storage.store import Store
store, n = Store(sys.argv[1]), 0
while True:
    store.write_bytes("file", (str(n) * 200_000)[:200_000].encode())
    n = (n + 1) % 10
"""


def test_kill_9_during_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    deadline = time.monotonic() + 30
    while not (tmp_path / "file").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    content = (tmp_path / "file").read_bytes()
    assert len(content) == 200_000 and len(set(content)) == 1
    assert Store(tmp_path).list() == ["file"]  # what was half written is not listed


def test_what_another_writes_to_a_bucket_is_seen(bucket: str) -> None:
    another = pytest.importorskip("boto3").client("s3")
    store = Store(f"{bucket}/root")
    store.write_bytes("runs/a", b"1")
    assert store.list("runs") == ["runs/a"] and store.exists("runs/a")
    another.put_object(Bucket=bucket.removeprefix("s3://"), Key="root/runs/b", Body=b"2")
    assert store.list("runs") == ["runs/a", "runs/b"] and store.read_bytes("runs/b") == b"2"
