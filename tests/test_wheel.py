"""The wheel: what is in it, what it needs, and that it works alone in an empty environment, from another folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {
    "storage": "codi2_storage",
    "datasets": "codi2_datasets",
    "codi2_model": "codi2_model",
    "flows": "codi2_flows",
}
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def needed(requirements: list[str]) -> set[str]:
    """The distributions that the requirements bring, by the metadata of the installed ones."""
    found: set[str] = set()
    queue = [Requirement(line) for line in requirements]
    while queue:
        wanted = queue.pop()
        for extra in ("", *wanted.extras):
            key = f"{canonicalize_name(wanted.name)}[{extra}]"
            if key in found:
                continue
            found.add(key)
            try:
                lines = requires(wanted.name) or []
            except PackageNotFoundError:
                continue
            below = [Requirement(line) for line in lines]
            queue += [one for one in below if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {key.partition("[")[0] for key in found}


def sources() -> dict[str, Path]:
    """The files of the repository by their path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return {name: ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name, file in sources().items():
        if name.partition("/")[0] in {*PACKAGES, "pyproject.toml", "setup.py", "README.md", "LICENSE"}:
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_every_file_of_the_packages_is_in_it_but_those_for_clusters(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{PACKAGES[folder]}/{rest}"
        for folder, _, rest in (name.partition("/") for name in sources())
        if folder in PACKAGES and not rest.startswith("cluster/")
    }
    assert sorted(wanted - held) == []
    assert {name for name in held - wanted if ".dist-info/" not in name} == set()
    kinds = ("recipes/demo.yaml", "presets/small.json", "shipped/config.json", "web/page/style.css", "prefect.yaml")
    assert all(any(name.endswith(kind) for name in held) for kind in kinds)


def test_it_brings_no_test_tool() -> None:
    tools = names(PROJECT["optional-dependencies"]["test"])
    assert tools & needed(PROJECT["dependencies"]) == set()


def test_every_package_that_is_locked_by_name_is_a_dependency_or_in_an_extra() -> None:
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines())
    declared = names([*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())])
    assert names([line for line in lines if line]) - declared == set()


def test_the_classifiers_are_the_versions_that_it_can_be_installed_on() -> None:
    found = [match[1] for line in PROJECT["classifiers"] if (match := re.search(r":: Python :: (3\.\d+)$", line))]
    accepted = SpecifierSet(PROJECT["requires-python"])
    assert tuple(found) == VERSIONS and all(accepted.contains(f"{version}.9") for version in found)


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.skipif(UV is None, reason="no uv")
@pytest.mark.parametrize("version", VERSIONS)
def test_it_builds_browses_chats_and_serves_in_an_empty_environment(version: str, wheel: Path, tmp_path: Path) -> None:
    python = subprocess.run([UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True)
    if python.returncode:
        pytest.skip(f"no Python {version} on this machine")
    if shutil.which("npm") is None:
        pytest.skip("no npm, which the corpora of the recipe demo need")
    away = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    away["UV_FIND_LINKS"] = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")
    subprocess.run([UV, "venv", "--quiet", "--python", python.stdout.strip(), "env"], cwd=tmp_path, check=True)
    # compiled, as pip does it: Ray waits 15 s for a process of its own, which is too short for the first import
    install = [UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", "env/bin/python", str(wheel)]
    subprocess.run(install, cwd=tmp_path, env=away, check=True)
    codi2 = str(tmp_path / "env" / "bin" / "codi2")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*arguments: str, given: str = "") -> str:
        done = subprocess.run([codi2, *arguments], cwd=elsewhere, env=away, input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version"))
    build = run("build", "demo", "--limit", "20").split()[-1]
    [row] = json.loads(run("query", "select build_id, samples from builds", "--json"))
    assert row["build_id"] == build and row["samples"] > 100
    with server(codi2, elsewhere, away, "browse", "--port", "0") as url:
        assert read(f"{url}/style.css") and json.loads(read(f"{url}/api/about"))["build"]["build_id"] == build
    assert run("chat", "--modalities", "text", "--max-tokens", "4", given="Hello.\n").strip()
    with server(codi2, elsewhere, away, "serve", "--port", "0") as url:
        assert "CoDi-2" in read(f"{url}/") and read(f"{url}/page/style.css")
        body = {"messages": [{"role": "user", "content": "Draw a red apple."}], "modalities": ["image"], "steps": 2}
        reply = json.loads(read(f"{url}/v1/chat/completions", json.dumps(body).encode()))
        assert reply["choices"][0]["message"]["images"]


@contextmanager
def server(codi2: str, folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[str]:
    """The URL that a command prints, while it runs."""
    process = subprocess.Popen(
        [codi2, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        while not (url := re.search(r"http://127\.0\.0\.1:\d+", said)):
            line = process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        yield url[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def read(url: str, data: bytes | None = None) -> str:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        return str(response.read().decode())
