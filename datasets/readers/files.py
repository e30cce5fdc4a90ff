"""Files of a published corpus: found over fsspec, named by what they hold, opened whatever they are packed with."""

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

from codi2_datasets.sources.registries import SourceUnavailable
from codi2_storage.locations import paths
from codi2_storage.locations.filesystems import system_of
from codi2_storage.locations.paths import is_shadow

# what decompressors and file systems raise for files that are cut off or corrupt
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, ValueError)
NOT_THE_STORE = (None, errno.EINVAL)  # decompressors give no number, and damaged tables make readers seek to nowhere
PACKED = re.compile(r"\.(gz|zst|bz2|xz|zip)$")
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
HASHED = ("file", "local", "memory")  # file systems whose files have no tag of their own that says what they hold


Kept = TypeVar("Kept", bound=Callable[..., Any])
_kept: list[Any] = []
_kept_for = ""


def kept(maxsize: int) -> Callable[[Kept], Kept]:
    """As `lru_cache`, for what pieces of one corpus have in common; forgotten when the corpus has other content."""

    def keep(function: Kept) -> Kept:
        _kept.append(lru_cache(maxsize=maxsize)(function))
        return _kept[-1]

    return keep


def keep_for(content: str) -> None:
    """Forget all that is kept, unless it was kept for the same content; '' forgets in any case. Workers live for long."""
    global _kept_for
    if not content or content != _kept_for:
        for function in _kept:
            function.cache_clear()
    _kept_for = content


def damage(error: BaseException) -> str:
    """What is wrong with a file, in a line. An error of the store (no network, no rights) is raised again: it says
    nothing of the file, and the next run may find it whole."""
    if isinstance(error, OSError) and error.errno not in NOT_THE_STORE:
        raise error
    return " ".join(str(error).split())[:200] or type(error).__name__


def of_one_file(error: OSError) -> bool:
    """Whether an error tells of the one file (gone since it was listed, no rights to it, a bad place on the disk), and not of
    the store."""
    return isinstance(error, FileNotFoundError | PermissionError) or error.errno == errno.EIO


def expand(path: str) -> str:
    """The path with environment variables and ~ filled in; one that exists as it is written is that path.

    Raises SourceUnavailable for a variable that is not set.
    """
    if "$" in path and os.path.exists(path):
        return path
    for plain, braced in VARIABLE.findall(path):
        if (name := plain or braced) not in os.environ:
            raise SourceUnavailable(path, f"the environment variable {name} is not set", f"export {name}=FOLDER")
    return os.path.expanduser(os.path.expandvars(path))


def parts_of(path: str) -> list[str]:
    """The paths that semicolons part; one that exists as it is written is one path, with its semicolons and blanks."""
    if (path and path == path.strip() and ";" not in path) or exists(path):
        return [path]
    parts = path.split(";")
    return [part if part != part.strip() and exists(part) else part.strip() for part in parts if part.strip()]


def find(path: str, patterns: Sequence[str]) -> list[str]:
    """URIs of the files of a path, sorted: of a folder those that match a pattern, at any depth; of a pattern all.

    A path that exists is that file or folder, whatever its name holds; only one that does not is a pattern. Several paths
    are parted by semicolons. Files that other systems leave behind are passed over. Raises SourceUnavailable where there
    is none.
    """
    found: set[str] = set()
    for one in parts_of(path):
        fs, base = open_system(one)
        try:
            found |= {uri(fs, name) for name in listed(fs, base, patterns)}
        except Exception as error:  # every file system of fsspec raises its own client's errors
            raise SourceUnavailable(
                one, f"cannot be listed: {error}", "check the address and the rights to it"
            ) from error
    if not found:
        wanted = ", ".join(patterns)
        raise SourceUnavailable(path, f"no file there ({wanted})", "name the folder that holds the published files")
    return sorted(found)


def listed(fs: fsspec.AbstractFileSystem, base: str, patterns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The files of a path with what their system says of them: {name: info}."""
    if is_web(fs) and matches(base.partition("?")[0], patterns):  # asked whether it is a folder, a site sends the file
        return {base: {}}
    if fs.isdir(base):
        found: dict[str, dict[str, Any]] = fs.find(base, detail=True)
        return {name: info for name, info in found.items() if matches(name[len(base) :], patterns)}
    return {name: info for name, info in paths.matches(fs, base).items() if name == base or not is_shadow(name)}


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file matches one of the patterns, in capitals or not, and is none that other systems leave behind."""
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
    """What tells whether a file has changed: its sha256 where it lies here, the store's tag and size elsewhere."""
    fs, base = open_system(path)
    return content_name(fs, base, None)


def folder_identity(folder: str, patterns: Sequence[str]) -> str:
    """The same for all files of a folder that match a pattern, or of a pattern's, with their names."""
    total = hashlib.sha256()
    for one in parts_of(folder):
        fs, base = open_system(one)
        found = listed(fs, base, patterns)
        for name in sorted(found):
            if matches(name.rpartition("/")[2], patterns):
                total.update(
                    f"{short(name)}\0{content_or_none(fs, name, found[name])}\n".encode(errors="surrogateescape")
                )
    return total.hexdigest()


def content_or_none(fs: fsspec.AbstractFileSystem, name: str, info: dict[str, Any]) -> str:
    """As `content_name`; '' for a file that cannot be read now, so that the folder is another once it can."""
    try:
        return content_name(fs, name, info)
    except OSError as error:
        if not of_one_file(error):
            raise
        return ""


def content_name(fs: fsspec.AbstractFileSystem, name: str, info: dict[str, Any] | None) -> str:
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if protocol in HASHED:
        with fs.open(name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    info = info or fs.info(name)
    tag = next((info[key] for key in ("ETag", "etag", "lfs", "blob_id", "LastModified") if info.get(key)), None)
    told = [name, info.get("size"), str(tag) if tag else str(fs.ukey(name))]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def short(path: str) -> str:
    """A file as locators name it: with its folder, without what lies before."""
    return "/".join(re.split(r"[/\\]", path)[-2:])


@contextmanager
def opened(path: str, seekable: bool = False) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where its first ones say gzip, zstd, bz2, xz or a zip of one file.

    `seekable` leaves packed ones as they are, for readers that jump.
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
    """Whether a file's name ends so, in capitals or not, packed (.gz, .zst, ...) or not."""
    return PACKED.sub("", file.lower()).endswith(endings)


def stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
