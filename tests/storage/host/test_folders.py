"""The cache, homes that cannot be used, and folders short enough for sockets."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from codi2_storage.host import folders
from codi2_storage.host.folders import SOCKET_PATH, HomeError, cache_home, settle_home, socket_folder


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("CODI2_CACHE", "XDG_CACHE_HOME", "PREFECT_HOME", "MPLCONFIGDIR", "npm_config_cache"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_cache_lies_where_the_user_says_else_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / ".cache" / "codi2"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_home() == Path("/x/codi2")
    monkeypatch.setenv("CODI2_CACHE", "/y")
    assert cache_home() == Path("/y")


@pytest.mark.parametrize("home", ["/dev/null", "/nonexistent/user", "relative"])
def test_without_a_usable_home_a_folder_of_the_user_alone_stands_in(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", home)
    folder = tmp_path / f"codi2-{os.getuid()}"
    assert cache_home() == folder / "cache" and folder.stat().st_mode & 0o777 == 0o700
    settle_home()
    assert os.environ["HOME"] == str(folder) and os.environ["PREFECT_HOME"] == str(folder / "prefect")


def test_an_empty_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    assert folders.named_home() == Path(pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.setattr(folders, "user_name", lambda: "nobody-of-that-name")
    assert folders.named_home() is None


def test_a_home_that_can_only_be_read_stays_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(folders, "writable", lambda folder: folder != home)
    monkeypatch.setenv("PREFECT_HOME", "/mine")
    settle_home()
    assert os.environ["HOME"] == str(home) and os.environ["PREFECT_HOME"] == "/mine"
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / f"codi2-{os.getuid()}" / "matplotlib")


def test_a_stand_in_that_is_a_link_or_anothers_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / f"codi2-{os.getuid()}").symlink_to("/etc")
    monkeypatch.setenv("HOME", "/dev/null")
    with pytest.raises(HomeError, match="set CODI2_CACHE and HOME"):
        cache_home()


def test_a_folder_for_sockets_is_short_whatever_the_temporary_folder_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = socket_folder("codi2-", 50)
    try:
        path = folder / ("s" * 49)
        assert len(str(path)) <= SOCKET_PATH and folder.parent != long
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    finally:
        subprocess.run(["rm", "-r", str(folder)], check=True)
    monkeypatch.setattr(folders, "SHORT", ())
    with pytest.raises(HomeError, match="set TMPDIR"):
        socket_folder("codi2-", 50)


RAY = """
from codi2_datasets.runtime.ray_executor import local_cluster, ray_map
with local_cluster(1):
    print(dict(ray_map(lambda item: item + 1, range(20), 1))[19])
"""


def test_ray_starts_with_a_temporary_folder_too_long_for_sockets_and_leaves_nothing_there(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    environment = {**os.environ, "TMPDIR": str(long), "HOME": "/nonexistent"}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run([sys.executable, "-c", RAY], env=environment, capture_output=True, text=True)
    assert done.stdout == "20\n", done.stderr
    assert not [path for path in long.rglob("*") if path.is_socket() or "ray-1" in path.name or "session" in path.name]
