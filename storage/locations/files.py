"""Atomic writes of local files, with the file mode that the umask gives to new files.

`tempfile` creates files that only their owner can read, and some libraries write through it; files that others may read
must not be written that way. The umask is never set, not even to read it: that would change it for every thread.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def beside(target: Path) -> Path:
    """A name for a temporary file or folder beside `target`, on the same disk, to be renamed to it."""
    return target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def replacing(target: Path, durable: bool = False) -> Iterator[Path]:
    """An empty file to write to, which replaces `target` at the end; after an error it is removed.

    `durable` also waits for the disk: use it for the files that commit others.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(target)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        if durable:
            flush(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(target: Path, data: bytes | str, durable: bool = False) -> None:
    """Write one file atomically; a string as UTF-8."""
    with replacing(target, durable) as temporary:
        temporary.write_bytes(data if isinstance(data, bytes) else data.encode())


def flush(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_new(path: Path) -> None:
    """Give a file, or a folder with all its contents, the modes that new ones get: for files that libraries wrote."""
    probe = beside(path)
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    file_mode = _mode(probe)
    probe.unlink()
    probe.mkdir()
    folder_mode = _mode(probe)
    probe.rmdir()
    for one in (path, *path.rglob("*")):
        wanted = folder_mode if one.is_dir() else file_mode
        if not one.is_symlink() and _mode(one) != wanted:
            one.chmod(wanted)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
