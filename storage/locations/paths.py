"""Paths that may be patterns: one that exists is that path, whatever its name holds; only one that does not is a pattern.

The leading folders of a pattern that exist are these folders too: in `data [v2]/*.tar` the asterisk alone is a mark.
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
    """Whether a file is none of the data but what macOS or Windows keep beside them."""
    *folders, base = name.split("/")
    return base.startswith("._") or base.lower() in SHADOWS or not SHADOW_FOLDERS.isdisjoint(folders)


def split_pattern(path: str, is_folder: Callable[[str], bool]) -> tuple[str, str]:
    """A pattern as the folder that it begins with and the rest, in which the first name has a mark."""
    names = path.split("/")
    taken = next((n for n, name in enumerate(names) if has_magic(name)), len(names))
    while taken < len(names) - 1 and is_folder("/".join(names[: taken + 1])):
        taken += 1
        while taken < len(names) - 1 and not has_magic(names[taken]):
            taken += 1
    return "/".join(names[:taken]), "/".join(names[taken:])


def matches(fs: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    """The file of that path, or the files that it matches as a pattern, with what their system says of them."""
    if fs.isfile(path):
        return {path: fs.info(path)}
    if not has_magic(path):
        return {}
    folder, rest = split_pattern(path, fs.isdir)
    pattern = re.compile(glob_translate(rest))
    depth = None if "**" in rest else rest.count("/") + 1
    found: dict[str, dict[str, Any]] = fs.find(folder, maxdepth=depth, detail=True)
    cut = len(folder.rstrip("/")) + bool(folder)
    return {name: info for name, info in found.items() if pattern.match(name[cut:])}


def local_matches(path: str) -> list[str]:
    """The local path, or those that it matches as a pattern, sorted."""
    if os.path.exists(path):
        return [path]
    folder, rest = split_pattern(path, os.path.isdir)
    return sorted(glob(f"{escape(folder)}/{rest}" if folder else rest, recursive=True))
