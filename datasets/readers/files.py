"""Files of a published corpus: listed over fsspec, identified by content, decompressed on opening."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import IO, Any, TypeVar, cast

import fsspec
import pyarrow as pa

from codi2_datasets.sources.file_hashes import cached_file_hash
from codi2_datasets.sources.registries import SourceUnavailable
from codi2_storage.locations import paths
from codi2_storage.locations.filesystems import system_of
from codi2_storage.locations.paths import is_shadow

# errors that decompressors and file systems raise for truncated or corrupt files
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, ValueError)
NOT_THE_STORE = (
    None,
    errno.EINVAL,
)  # decompressors set no errno, and damaged tables make readers seek to invalid positions
PACKED = re.compile(r"\.(gz|zst|bz2|xz|zip)$")
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


Kept = TypeVar("Kept", bound=Callable[..., Any])
_kept: list[Any] = []
_kept_for = ""


def kept(maxsize: int) -> Callable[[Kept], Kept]:
    """Like `lru_cache`, for data shared by the pieces of one corpus; cleared when the corpus changes."""

    def keep(function: Kept) -> Kept:
        _kept.append(lru_cache(maxsize=maxsize)(function))
        return _kept[-1]

    return keep


def keep_for(content: str) -> None:
    """Clear all caches unless they were filled for the same content; '' always clears. Workers are long-lived."""
    global _kept_for
    if not content or content != _kept_for:
        for function in _kept:
            function.cache_clear()
    _kept_for = content


def damage(error: BaseException) -> str:
    """The damage to a file, in one line.

    An error of the store (no network, no permission) is raised again: it does not concern the file, and the next run
    may read it.
    """
    if isinstance(error, OSError) and error.errno not in NOT_THE_STORE:
        raise error
    return " ".join(str(error).split())[:200] or type(error).__name__


def of_one_file(error: OSError) -> bool:
    """Whether an error concerns one file (deleted since listing, no permission, bad disk block) rather than the store."""
    return isinstance(error, FileNotFoundError | PermissionError) or error.errno == errno.EIO


def expand(path: str) -> str:
    """The path with environment variables and ~ expanded; an existing path is taken literally.

    Raises SourceUnavailable for a variable that is not set.
    """
    if "$" in path and os.path.exists(path):
        return path
    for plain, braced in VARIABLE.findall(path):
        if (name := plain or braced) not in os.environ:
            raise SourceUnavailable(path, f"the environment variable {name} is not set", f"export {name}=FOLDER")
    return os.path.expanduser(os.path.expandvars(path))


def parts_of(path: str) -> list[str]:
    """The paths separated by semicolons; an existing path is taken literally, with its semicolons and blanks."""
    if (path and path == path.strip() and ";" not in path) or exists(path):
        return [path]
    parts = path.split(";")
    return [part if part != part.strip() and exists(part) else part.strip() for part in parts if part.strip()]


def find(path: str, patterns: Sequence[str]) -> list[str]:
    """URIs of the files of a path, sorted: in a folder, at any depth, those that match a pattern; for a glob, all.

    A path that exists is taken literally; only others are globs. Several paths are separated by semicolons. Files that
    operating systems add are skipped. Raises SourceUnavailable if there is none.
    """
    uris: set[str] = set()
    for one in parts_of(path):
        fs, base = open_system(one)
        try:
            uris |= {uri(fs, name) for name in listed(fs, base, patterns)}
        except Exception as error:  # each file system of fsspec raises its own client's errors
            raise SourceUnavailable(
                one, f"cannot be listed: {error}", "check the address and the rights to it"
            ) from error
    if not uris:
        wanted = ", ".join(patterns)
        raise SourceUnavailable(path, f"no file there ({wanted})", "name the folder that holds the published files")
    return sorted(uris)


def listed(fs: fsspec.AbstractFileSystem, base: str, patterns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The files of a path with their fsspec info: {name: info}."""
    if is_web(fs) and matches(
        base.partition("?")[0], patterns
    ):  # asked whether it is a folder, a web server sends the file
        return {base: {}}
    if fs.isdir(base):
        files: dict[str, dict[str, Any]] = fs.find(base, detail=True)
        return {name: info for name, info in files.items() if matches(name[len(base) :], patterns)}
    return {name: info for name, info in paths.matches(fs, base).items() if name == base or not is_shadow(name)}


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file matches one of the patterns, regardless of case, and is no file that operating systems add."""
    base = name.rpartition("/")[2].lower().rstrip()
    return any(fnmatchcase(base, pattern.lower()) for pattern in patterns) and not is_shadow(name)


def open_system(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        fs, base = system_of(path)
    except (ValueError, ImportError) as error:
        raise SourceUnavailable(path, str(error), "write a path or a URI that fsspec knows") from error
    return fs, base


def is_web(fs: fsspec.AbstractFileSystem) -> bool:
    return "http" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def exists(path: str) -> bool:
    fs, base = open_system(path)
    return bool(fs.exists(base))


def uri(fs: fsspec.AbstractFileSystem, name: str) -> str:
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return name if protocol in ("file", "local", "http", "https") else str(fs.unstrip_protocol(name))


def identity(path: str) -> str:
    """A value that changes with the file: the sha256 of a local file, the store's tag and size of a remote one."""
    fs, base = open_system(path)
    return content_name(fs, base, None)


def folder_identity(folder: str, patterns: Sequence[str]) -> str:
    """The same for all files of a folder or glob that match a pattern, with their names."""
    total = hashlib.sha256()
    for one in parts_of(folder):
        fs, base = open_system(one)
        files = listed(fs, base, patterns)
        for name in sorted(files):
            if matches(name.rpartition("/")[2], patterns):
                total.update(
                    f"{short(name)}\0{content_or_none(fs, name, files[name])}\n".encode(errors="surrogateescape")
                )
    return total.hexdigest()


def content_or_none(fs: fsspec.AbstractFileSystem, name: str, info: dict[str, Any]) -> str:
    """As `content_name`; '' for a file that cannot be read for now, so that the folder's identity changes once it can."""
    try:
        return content_name(fs, name, info)
    except OSError as error:
        if not of_one_file(error):
            raise
        return ""


def content_name(fs: fsspec.AbstractFileSystem, name: str, info: dict[str, Any] | None) -> str:
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if protocol in ("file", "local"):
        return cached_file_hash(name)
    if protocol == "memory":  # its files have no tag of their own that depends on the content
        with fs.open(name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    info = info or fs.info(name)
    tag = next((info[key] for key in ("ETag", "etag", "lfs", "blob_id", "LastModified") if info.get(key)), None)
    parts = [name, info.get("size"), str(tag) if tag else str(fs.ukey(name))]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def short(path: str) -> str:
    """A file's name in locators: its folder and name, without the path before them."""
    return "/".join(re.split(r"[/\\]", path)[-2:])


@contextmanager
def opened(path: str, seekable: bool = False) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed if its first bytes are gzip, zstd, bz2, xz or a zip of one file.

    `seekable` leaves compressed files as they are, for readers that seek.
    """
    fs, base = open_system(path)
    with fs.open(base, "rb") as file:
        yield file if seekable else cast(IO[bytes], unpacked(file, path))


def unpacked(file: IO[bytes], name: str) -> Any:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    if head.startswith(b"PK\x03\x04") and not name.endswith(".npz"):
        archive = zipfile.ZipFile(file)
        members = [member for member in archive.infolist() if not member.is_dir() and not is_shadow(member.filename)]
        if len(members) == 1:
            return archive.open(members[0])
    return file


def has_ending(file: str, *endings: str) -> bool:
    """Whether a file's name ends so, regardless of case, compressed (.gz, .zst, ...) or not."""
    return PACKED.sub("", file.lower()).endswith(endings)


def stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
