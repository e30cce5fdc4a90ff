"""Hashes of files. Those of the user's local files are cached by path, size and time stamps, so only changed ones are read.

The cache is `<cache>/hashes.sqlite`. It can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from codi2_storage.host.folders import cache_home

SETTLED = 2.0  # seconds; a file changed since may change again within the resolution of its time stamps


def file_hash(path: str | Path) -> str:
    """sha256 of a file, which is read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_file_hash(path: str | Path) -> str:
    """sha256 of a file, which is read only if it is new or has changed."""
    name, about = os.path.realpath(path), os.stat(path)
    stamp = f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}"
    with suppress(sqlite3.Error, OSError, UnicodeError):  # without the cache, or with a damaged one, files are read
        query = "select sha256 from hashes where path = ? and stamp = ?"
        if known := database(cache_home() / "hashes.sqlite").execute(query, [name, stamp]).fetchone():
            return str(known[0])
    hashed = file_hash(path)
    if time.time() - max(about.st_mtime, about.st_ctime) > SETTLED:
        with suppress(sqlite3.Error, OSError, UnicodeError):
            values = [name, stamp, hashed]
            database(cache_home() / "hashes.sqlite").execute("replace into hashes values (?, ?, ?)", values)
    return hashed


@cache
def database(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("pragma synchronous = off")  # a lost entry is made again
    connection.execute("create table if not exists hashes (path text primary key, stamp text, sha256 text)")
    return connection
