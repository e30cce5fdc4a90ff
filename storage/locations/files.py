"""Local files that appear whole or not at all, with the mode that the umask gives to new files.

`tempfile` makes files for their owner alone, and some libraries write through it; neither is used for what others may read.
The umask is never set, not even to learn it: that would change it for every thread of the process.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def beside(target: Path) -> Path:
    """A name for a temporary file or folder, to be renamed to `target` on the same disk."""
    return target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def replacing(target: Path, durable: bool = False) -> Iterator[Path]:
    """An empty file to write to, which takes the place of `target` at the end; on an error nothing is left of it.

    `durable` also waits for the disk: for the few files that commit others.
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
    """Write one file atomically; text as UTF-8."""
    with replacing(target, durable) as temporary:
        temporary.write_bytes(data if isinstance(data, bytes) else data.encode())


def flush(path: Path) -> None:
    """Have a file, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_new(path: Path) -> None:
    """Give a file, or a folder with all below it, the modes that new ones get there: for what libraries wrote in their own way."""
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
