"""Glob patterns in paths: an existing path is taken literally, whatever its name; only others are patterns.

The same holds for the leading folders of a pattern: in `data [v2]/*.tar` only the asterisk is a wildcard if the folder
exists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from glob import escape, glob, has_magic
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.utils import glob_translate

__all__ = ["has_magic", "is_shadow", "local_matches", "matches", "split_pattern"]
SHADOWS = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".localized", ".apdisk"}
SHADOW_FOLDERS = {"__MACOSX", ".AppleDouble", ".Spotlight-V100", ".Trashes", ".fseventsd", "@eaDir", "$RECYCLE.BIN"}


def is_shadow(name: str) -> bool:
    """Whether a file is not data but metadata that macOS or Windows keeps beside it."""
    *folders, base = name.split("/")
    return base.startswith("._") or base.lower() in SHADOWS or not SHADOW_FOLDERS.isdisjoint(folders)


def split_pattern(path: str, is_folder: Callable[[str], bool]) -> tuple[str, str]:
    """Split a pattern into the existing folder it begins with and the rest, whose first name has a wildcard."""
    names = path.split("/")
    taken = next((n for n, name in enumerate(names) if has_magic(name)), len(names))
    while taken < len(names) - 1 and is_folder("/".join(names[: taken + 1])):
        taken += 1
        while taken < len(names) - 1 and not has_magic(names[taken]):
            taken += 1
    return "/".join(names[:taken]), "/".join(names[taken:])


def matches(fs: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    """The file at that path, or the files that match it as a pattern, each with its fsspec info."""
    if fs.isfile(path):
        return {path: fs.info(path)}
    if not has_magic(path):
        return {}
    folder, rest = split_pattern(path, fs.isdir)
    pattern = re.compile(glob_translate(rest))
    depth = None if "**" in rest else rest.count("/") + 1
    files: dict[str, dict[str, Any]] = fs.find(folder, maxdepth=depth, detail=True)
    cut = len(folder.rstrip("/")) + bool(folder)
    return {name: info for name, info in files.items() if pattern.match(name[cut:])}


def local_matches(path: str) -> list[str]:
    """The local path itself, or those that match it as a pattern, sorted."""
    if os.path.exists(path):
        return [path]
    folder, rest = split_pattern(path, os.path.isdir)
    return sorted(glob(f"{escape(folder)}/{rest}" if folder else rest, recursive=True))
