"""Store: files under a root URI on any fsspec file system, with atomic writes.

A file appears whole or not at all: locally by a temporary name and a rename, on object stores by a single put.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import has_magic
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from codi2_storage.locations.files import as_new, beside, write_whole
from codi2_storage.locations.filesystems import system_of
from codi2_storage.locations.paths import is_shadow

BULK = 1_000  # files that an object store removes in one request


class StoreError(OSError):
    """A read or write on the store failed. The message names the file and the remedy."""


@dataclass(frozen=True)
class Stored:
    """A file in a store.

    modified: time of the last write in seconds since 1970, by the store's clock, which may be rounded to a second.
    version: ETag of an object, which changes with its content; "" for local files.
    """

    name: str
    bytes: int
    modified: float
    version: str = ""


class Store:
    """Files under one root URI: a local folder, `s3://…`, `gs://…`, `memory://…`. Picklable and cheap to create."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        fs, path = system_of(self.root, use_listings_cache=False)  # other processes write there at the same time
        self.fs: fsspec.AbstractFileSystem = fs
        self.is_local = isinstance(fs, LocalFileSystem)
        self.base: str = str(Path(path).absolute()) if self.is_local else path.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Store, (self.base if self.is_local else self.root,))

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def path(self, name: str) -> str:
        """The path in the file system's own form, which DuckDB also takes."""
        return f"{self.base}/{name}" if name else self.base

    def uri(self, name: str = "") -> str:
        return self.path(name) if self.is_local else self.fs.unstrip_protocol(self.path(name))

    def local_path(self, name: str) -> str | None:
        """The path for tools that read local files only; None on other stores."""
        return self.path(name) if self.is_local else None

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def read_bytes(self, name: str) -> bytes:
        return bytes(self.fs.cat_file(self.path(name)))

    def open_read(self, name: str) -> IO[bytes]:
        return self.fs.open(self.path(name), "rb")

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (start, stop) range of one file, in the given order."""
        if self.is_local:
            with open(self.path(name), "rb") as file:
                return [os.pread(file.fileno(), stop - start, start) for start, stop in ranges]
        path = self.path(name)
        pieces = self.fs.cat_ranges([path] * len(ranges), [a for a, _ in ranges], [b for _, b in ranges])
        return [bytes(piece) for piece in pieces]

    def write_bytes(self, name: str, data: bytes, durable: bool = False) -> None:
        """Write one file atomically. `durable` also waits for the disk: use it for the files that commit others."""
        if not self.is_local:
            self.fs.pipe_file(self.path(name), data)
            return
        target = Path(self.path(name))
        try:
            write_whole(target, data, durable)
        except OSError as error:
            raise explained(error, str(target)) from error

    def list(self, prefix: str = "") -> list[str]:
        """All files under a folder, relative to the root, sorted; empty if the folder does not exist.

        Unfinished `.part` files and files that operating systems add (such as .DS_Store) are left out.
        """
        base = self.path(prefix)
        if not self.fs.exists(base):
            return []
        cut = len(self.base.rstrip("/")) + 1
        names = (str(path)[cut:] for path in self.fs.find(base))
        return sorted(name for name in names if not name.endswith(".part") and not is_shadow(name))

    def files(self, prefix: str = "") -> Sequence[Stored]:
        """All files under a folder with size and time, unfinished ones included, sorted by name."""
        base = self.path(prefix)
        if not self.fs.exists(base):
            return []
        cut = len(self.base.rstrip("/")) + 1
        entries = self.fs.find(base, detail=True)
        return [
            Stored(name[cut:], int(info["size"] or 0), written(info), str(info.get("ETag") or info.get("etag") or ""))
            for name, info in sorted(entries.items())
        ]

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files, in bulk where the store supports it. A file that no longer exists is no error."""
        if not self.is_local:
            paths = [self.path(name) for name in names]
            for start in range(0, len(paths), BULK):
                self._remove_paths(paths[start : start + BULK])
            return
        for name in names:
            file = Path(self.path(name))
            file.unlink(missing_ok=True)
            with suppress(OSError):  # the folder is not empty
                file.parent.rmdir()

    def _remove_paths(self, paths: Sequence[str]) -> None:
        """Remove files of an object store, in one request unless a name could be read as a glob pattern."""
        if not any(map(has_magic, paths)):
            with suppress(
                FileNotFoundError
            ):  # one file no longer exists and the store reports it: remove the others one by one
                self.fs.rm(list(paths))
                return
        for path in paths:
            with suppress(FileNotFoundError):
                self.fs.rm_file(path)

    def remove(self, name: str) -> None:
        if not self.exists(name):
            return
        if self.is_local:
            self.fs.rm(self.path(name), recursive=True)
        else:
            self.remove_files([name] if self.fs.isfile(self.path(name)) else self.list(name))

    def put_folder(self, folder: str | os.PathLike[str], name: str) -> None:
        """Copy a local folder to `name`. On a local store it appears as a whole, by one rename."""
        source = Path(folder)
        if not self.is_local and not has_magic(str(source)):
            self.fs.put(f"{source}/", f"{self.path(name)}/", recursive=True)
            return
        if not self.is_local:  # one by one: fsspec would read the folder name as a pattern
            for file in sorted(path for path in source.rglob("*") if path.is_file()):
                self.fs.put_file(str(file), f"{self.path(name)}/{file.relative_to(source).as_posix()}")
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = beside(target)
        try:
            shutil.copytree(source, temporary)
            as_new(temporary)  # the folder may be a temporary one that only its owner can read
            if target.exists():
                shutil.rmtree(target)
            os.replace(temporary, target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise explained(error, str(target)) from error


def written(info: Mapping[str, Any]) -> float:
    """The time of the last write in seconds since 1970, from the key that each fsspec file system uses."""
    value = next(info[key] for key in ("mtime", "LastModified", "last_modified", "updated", "created") if info.get(key))
    if isinstance(value, int | float):
        return float(value)
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return float((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def explained(error: OSError, path: str) -> StoreError:
    """The same error as a StoreError whose message names the file and the remedy."""
    if error.errno == errno.ENOSPC:
        message = f"the disk is full: {path} was not written; free some space and run the same command again"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        message = f"no permission to write {path}"
    else:
        message = f"cannot write {path}: {error.strerror or error}"
    return StoreError(error.errno, message)
