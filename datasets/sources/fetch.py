"""Fetches the source of a corpus with the standard client of its registry, and caches it.

  npm:NAME[@VERSION]      npm pack             deb:NAME[=VERSION]   apt-get download
  pypi:NAME[==VERSION]    pip download         file:PATH            a folder, an archive or a single file
  any other URI           fsspec: an archive or a single file (https://..., s3://..., memory://...)

`#sha256=HEX` after any of them gives the expected hash of the archive. Archives are stored by content under
`<cache>/archives/<sha256>` and unpacked under `<cache>/unpacked/<sha256>/`. `<cache>/index/` maps sources to hashes, so
that a second fetch runs no client and needs no network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from codi2_datasets.sources.archives import ArchiveError, unpack
from codi2_datasets.sources.file_hashes import cached_file_hash, file_hash
from codi2_datasets.sources.registries import (
    SourceDamaged,
    SourceUnavailable,
    from_deb,
    from_npm,
    from_pypi,
    from_uri,
)
from codi2_storage.host.folders import cache_home
from codi2_storage.locations.files import as_new, write_whole

__all__ = ["Fetched", "SourceDamaged", "SourceUnavailable", "fetch", "pinned"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A fetched source.

    `path`: its unpacked folder, read-only. `sha256`: of the archive; of a folder, of its files' names and contents.
    """

    path: Path
    source: str
    name: str
    version: str
    sha256: str


def fetch(source: str, cache: Path | None = None, refresh: bool = False) -> Fetched:
    """The unpacked source, from the cache if it is there. `refresh` queries the registry again.

    An unpinned source is resolved once and recorded with the version it had then. Raises SourceUnavailable,
    SourceDamaged, or ValueError for a source in none of the forms above.
    """
    cache = cache or cache_home() / "sources"
    address, expected = split_hash(source)
    scheme, _, rest = address.partition(":")
    if not rest:
        raise ValueError(
            f"{source!r} is no source: write npm:NAME@VERSION, pypi:NAME==VERSION, deb:NAME, file:PATH or a URI"
        )
    if scheme == "file":
        return fetch_file(source, Path(rest.removeprefix("//")).expanduser(), cache, expected)
    if not refresh and (known := remembered(cache, source)):
        return known
    client = {"npm": from_npm, "pypi": from_pypi, "deb": from_deb}.get(scheme, from_uri)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as folder:
        archive = client(source, address if client is from_uri else rest, Path(folder), cache)
        digest = check_hash(source, archive.file, file_hash(archive.file), expected)
        unpacked = unpack_source(source, archive.file, cache, digest)
        keep(archive.file, cache / "archives" / digest)
    fetched = Fetched(unpacked, source, archive.name, archive.version, digest)
    remember(cache, fetched, archive.file.name)
    return fetched


def pinned(source: str) -> bool:
    """Whether the source is pinned to fixed bytes, so that querying the registry again could return nothing else."""
    address, expected = split_hash(source)
    scheme, _, rest = address.partition(":")
    version = {"npm": "@", "pypi": "==", "deb": "="}.get(scheme)
    return scheme == "file" or expected is not None or (version is not None and version in rest[1:])


def split_hash(source: str) -> tuple[str, str | None]:
    address, mark, expected = source.partition("#sha256=")
    if mark and not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise ValueError(f"{source!r}: a sha256 has 64 digits of 0-9a-f")
    return address, expected or None


def check_hash(source: str, file: Path, digest: str, expected: str | None) -> str:
    if expected and digest != expected:
        raise SourceDamaged(f"{source}: {file.name} has sha256 {digest}, not the one asked for")
    return digest


def unpack_source(source: str, file: Path, cache: Path, digest: str, name: str | None = None) -> Path:
    destination = cache / "unpacked" / digest
    try:
        unpack(file, destination, name)
    except ArchiveError as error:
        raise SourceDamaged(f"{source}: {error}") from error
    return destination


# --- the cache ---------------------------------------------------------------------------------------------------


def index_file(cache: Path, source: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9.=@-]+", "_", source)[:60]
    return cache / "index" / f"{readable}-{hashlib.sha256(source.encode()).hexdigest()[:12]}.json"


def remembered(cache: Path, source: str) -> Fetched | None:
    """A source that was fetched before, unpacked again from its archive if needed; None if it must be fetched."""
    try:
        record = json.loads(index_file(cache, source).read_text(encoding="utf-8"))
        name, version, digest, file = record["name"], record["version"], record["sha256"], record["file"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        log.warning("%s: its cache record is unreadable and is made again", source)
        return None
    unpacked, archive = cache / "unpacked" / digest, cache / "archives" / digest
    if not unpacked.is_dir():
        if not archive.is_file():
            return None
        if file_hash(archive) != digest:
            log.warning("%s: its cached archive is damaged and is fetched again", source)
            archive.unlink(missing_ok=True)
            return None
        unpack_source(source, archive, cache, digest, file)
    return Fetched(unpacked, source, name, version, digest)


def remember(cache: Path, fetched: Fetched, file_name: str) -> None:
    record = {key: value for key, value in asdict(fetched).items() if key != "path"} | {"file": file_name}
    write_whole(index_file(cache, fetched.source), json.dumps(record, indent=1, sort_keys=True))


def keep(file: Path, place: Path) -> None:
    """Move a finished download into the cache. Both are on one file system, so it appears whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    as_new(file)  # registry clients set file modes of their own
    os.replace(file, place)


# --- local files -------------------------------------------------------------------------------------------------


def fetch_file(source: str, path: Path, cache: Path, expected: str | None) -> Fetched:
    """A folder is used in place; an archive or file is unpacked into the cache. Files that changed are hashed again."""
    if path.is_dir():
        digest = check_hash(source, path, folder_hash(path), expected)
        return Fetched(path.resolve(), source, path.resolve().name, digest[:12], digest)
    if not path.is_file():
        raise SourceUnavailable(source, f"no file or folder {path}", "check the path")
    digest = check_hash(source, path, cached_file_hash(path), expected)
    unpacked = unpack_source(source, path, cache, digest)
    return Fetched(unpacked, source, path.name.partition(".")[0], digest[:12], digest)


def folder_hash(folder: Path) -> str:
    """sha256 over the names and contents of all files, sorted by name."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\0{cached_file_hash(path)}\n".encode())
    return total.hexdigest()
