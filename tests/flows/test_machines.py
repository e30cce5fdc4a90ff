"""Odd machines: the same build comes of another locale, time zone and umask, of long folders, and without a usable home."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

CODE = """
import sys
from codi2_flows.cli.output.encoding import use_utf8
use_utf8()
import codi2_flows.runtime.settings
from codi2_datasets.build import Settings, build
print(build(Settings(sys.argv[1], sys.argv[2], workers=1)).build_id)
"""
RECIPE = """
name: ılık
seed: 3
image: {size: 32}
splits: {test_concepts: 0.0, validation_concepts: 0.0, test_combinations: 0.0, validation_combinations: 0.0}
corpora: [{name: webdataset, path: tars, options: {licence: CC-BY-4.0}}]
tasks: {text_to_image: {train: 8}}
"""
NAME = "tarif ışık.yaml"
Build = Callable[..., tuple[str, dict[str, bytes]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe and a corpus whose names and captions are not ASCII."""
    folder = tmp_path_factory.mktemp("machines")
    (folder / NAME).write_text(RECIPE, encoding="utf-8")
    (folder / "tars").mkdir()
    with tarfile.open(folder / "tars" / "0.tar", "w") as archive:
        for number in range(8):
            buffer = io.BytesIO()
            Image.new("RGB", (48, 48), (30 * number, 200, 120)).save(buffer, "JPEG")
            for name, data in (
                (f"{number}.JPG", buffer.getvalue()),
                (f"{number}.txt", f"IĞDIR {number} — ışık".encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return folder


@pytest.fixture(scope="module")
def build(folder: Path) -> Build:
    """`build(root, umask, VARIABLE=value, ...)` in a process of its own: the build's id and the bytes of its shards."""

    def run(root: str, umask: int = 0o022, **environment: str) -> tuple[str, dict[str, bytes]]:
        done = python(["-c", CODE, NAME, root], folder, umask, **environment)
        shards = (folder / root / "shards").rglob("*.tar")
        return done.strip(), {path.name: path.read_bytes() for path in shards}

    return run


def python(arguments: list[str], folder: Path, umask: int = 0o022, **environment: str) -> str:
    """What Python prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=inherited | environment, umask=umask, capture_output=True,
        encoding="utf-8", errors="backslashreplace",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def usual(build: Build) -> tuple[str, dict[str, bytes]]:
    return build("usual")


@pytest.fixture(scope="module")
def turkish(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A locale whose small letter of I is no i, and whose encoding is not UTF-8."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        pytest.skip("no localedef on this machine")
    made = subprocess.run(
        ["localedef", "-i", "tr_TR", "-f", "ISO-8859-9", str(folder / "tr_TR.ISO-8859-9")],
        check=False,
        capture_output=True,
    )
    if made.returncode > 1:
        pytest.skip("this machine has no Turkish locale")
    return {"LOCPATH": str(folder), "LC_ALL": "tr_TR.ISO-8859-9"}


QUERY = ["-m", "codi2_flows.cli.main", "query", "--root", "usual"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # what LC_ALL=C means to programs but Python


def test_an_ascii_locale_another_zone_umask_long_folders_and_no_home_change_nothing(
    build: Build, usual: tuple[str, dict[str, bytes]], folder: Path
) -> None:
    long = folder / ("t" * 100)
    long.mkdir()
    root = "kök çok uzun/" + "/".join(["r" * 60] * 3)
    odd = build(root, 0o077, **ASCII, TZ="Pacific/Kiritimati", TMPDIR=str(long), HOME="/nonexistent")
    assert odd == usual and len(odd[1]) == 1
    assert not [path for path in (folder / root).rglob("*") if path.is_file() and path.stat().st_mode & 0o077]


def test_a_turkish_locale_and_a_home_that_can_only_be_read_change_nothing(
    build: Build, usual: tuple[str, dict[str, bytes]], turkish: dict[str, str], folder: Path
) -> None:
    (folder / "home").mkdir()
    (folder / "home").chmod(0o500)
    assert build("turkish", **turkish, TZ="America/St_Johns", HOME=str(folder / "home")) == usual
    assert list((folder / "home").iterdir()) == [] or os.getuid() == 0  # nothing is read-only to root


@pytest.mark.usefixtures("usual")
def test_what_an_ascii_terminal_lacks_is_escaped_and_times_are_those_of_the_zone(folder: Path) -> None:
    query = "select text, (select created_at from builds) as at from parts where text like '%1%' limit 1"
    shown = python([*QUERY, query, "--json"], folder, **ASCII, TZ="Pacific/Kiritimati")
    [row] = json.loads(shown)
    assert shown.isascii() and "IĞDIR 1 — ışık" in row["text"] and row["at"].endswith("+00:00")
    table = python([*QUERY, query], folder, **ASCII)
    assert r"I\u011eDIR 1" in table
    assert "IĞDIR 1" in python([*QUERY, query], folder, LC_ALL="C")  # which Python takes for C.UTF-8
