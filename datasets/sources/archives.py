"""Safely unpacks damaged or hostile archives: nothing is written outside the destination, or left incomplete."""

from __future__ import annotations

import logging
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from codi2_storage.host import child_processes
from codi2_storage.locations.files import beside

MAX_BYTES = 32 * 2**30  # unpacked; anything larger is treated as a decompression bomb

log = logging.getLogger(__name__)


class ArchiveError(ValueError):
    """An archive cannot be unpacked. The message names the reason."""


def unpack(archive: Path, destination: Path, name: str | None = None) -> None:
    """Unpack a tar (plain, gz, bz2, xz), zip, wheel or deb into `destination`, which appears whole or not at all.

    A file that is no archive is copied under `name`. An existing `destination` is left unchanged: it was made from the
    same bytes. Raises ArchiveError for a truncated or corrupt archive and for members that would be written outside the
    destination.
    """
    if destination.exists():
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(destination)
    temporary.mkdir()
    try:
        extractor(archive)(archive, temporary, name or archive.name)
        rename_folder(temporary, destination)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        # bz2 and gzip report damage as an OSError without errno; errors such as a full disk have one and are raised as
        # they are
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(f"{archive.name}: damaged archive: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def rename_folder(temporary: Path, destination: Path) -> None:
    """Move a finished folder into place. If another process was first, its folder has the same content."""
    try:
        os.rename(temporary, destination)
    except OSError:
        if not destination.is_dir():
            raise


def extractor(archive: Path) -> Callable[[Path, Path, str], None]:
    """The function that unpacks a file, chosen by its first bytes rather than its name. Raises ArchiveError."""
    with archive.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"!<arch>\ndebian-binary"):
        return unpack_deb
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return unpack_zip
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")) or head[257:262] == b"ustar":
        return unpack_tar
    if archive.name.endswith((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".whl", ".deb")):
        raise ArchiveError(f"{archive.name}: damaged archive: its content is not what its name says")
    return copy_file


def copy_file(source: Path, destination: Path, name: str) -> None:
    shutil.copyfile(source, destination / PurePosixPath(name).name)


def unpack_tar(archive: Path, destination: Path, name: str) -> None:
    with tarfile.open(archive) as tar:
        extract_members(tar, destination, archive.name)


def unpack_deb(archive: Path, destination: Path, name: str) -> None:
    """Unpack the files of a Debian package without running its scripts."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with child_processes.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        stream: IO[bytes] = process.stdout
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                extract_members(tar, destination, archive.name)
            while stream.read(2**20):  # padding after the last member
                pass
        except tarfile.TarError as error:
            stream.close()
            raise ArchiveError(f"{archive.name}: damaged archive: {said(process.stderr) or error}") from error
        except BaseException:
            process.kill()
            raise
        message = said(process.stderr)
    if process.returncode != 0:
        raise ArchiveError(f"{archive.name}: damaged archive: {message or 'dpkg-deb failed'}")


def said(stream: IO[bytes]) -> str:
    return child_processes.last_line(stream.read().decode(errors="replace"))


def extract_members(tar: tarfile.TarFile, destination: Path, name: str) -> None:
    """Extract under the rules of Python's 'data' filter.

    Links that leave the package are skipped: some packages have such.
    """
    total = 0

    def rule(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        nonlocal total
        total += member.size
        if total > MAX_BYTES:
            raise ArchiveError(f"{name}: more than {MAX_BYTES:,} bytes when unpacked")
        try:
            return tarfile.data_filter(member, path)
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError, tarfile.SpecialFileError) as error:
            log.info("%s: left out: %s", name, error)
            return None

    try:
        tar.extractall(destination, filter=rule)
    except tarfile.FilterError as error:
        raise ArchiveError(f"{name}: refused: {error}") from error


def unpack_zip(archive: Path, destination: Path, name: str) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
                raise ArchiveError(f"{archive.name}: refused: {member.filename!r} would be written outside")
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise ArchiveError(f"{archive.name}: more than {MAX_BYTES:,} bytes when unpacked")
        file.extractall(destination)
