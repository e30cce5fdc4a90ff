"""Packs: many commits in one file, whose rows lie in a few shared Parquet files. `compact.py` writes them.

`catalog/commits/pack/<id>.json` holds commits unchanged, except that their files are ranges of rows in shared files. A
pack is immutable: its id is the hash of its content. As long as the commits' own files also exist, the pack takes
precedence; a later garbage collection removes those files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codi2_storage.commits.commit import Commit, Manifest
from codi2_storage.store import Store

FOLDER = "catalog/commits/pack"
REMEMBERED = 64  # packs that a process caches; about a megabyte per thousand commits


@dataclass(frozen=True)
class Pack:
    """Commits by (kind, id), and the paths of the packs that this one replaces."""

    commits: dict[tuple[str, str], Commit]
    replaces: tuple[str, ...] = ()


def pack_json(commits: Iterable[Commit], replaces: Sequence[str] = ()) -> bytes:
    """Serialise a pack. Each file is listed once; a commit's share of it is [file number, start, rows]."""
    numbers: dict[str, int] = {}
    files: list[list[str | int]] = []
    entries = []
    for commit in sorted(commits, key=lambda commit: (commit.kind, commit.id)):
        for file in commit.files:
            if file.path not in numbers:
                numbers[file.path] = len(files)
                files.append([file.table, file.path, file.sha256, file.rows if file.of is None else file.of])
        shares = [[numbers[file.path], file.start, file.rows] for file in commit.files]
        entries.append([commit.id, commit.kind, shares, commit.uses, commit.info])
    content = {"files": files, "commits": entries, "replaces": sorted(replaces)}
    return json.dumps(content, separators=(",", ":")).encode()


def unpacked(data: bytes) -> Pack:
    content = json.loads(data)
    commits = {}
    for name, kind, shares, uses, info in content["commits"]:
        manifests = []
        for number, start, rows in shares:
            table, path, sha256, of = content["files"][number]
            manifests.append(Manifest(table, path, rows, sha256, start, of))
        commits[kind, name] = Commit(name, kind, manifests, uses, info)
    return Pack(commits, tuple(content["replaces"]))


def write_pack(store: Store, commits: Iterable[Commit], replaces: Sequence[str] = ()) -> str:
    """Publish commits as one pack, atomically. Returns its path."""
    data = pack_json(commits, replaces)
    path = f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:16]}.json"
    store.write_bytes(path, data, durable=True)
    return path


def packs(store: Store) -> dict[str, Pack]:
    """The packs in effect, by path: those that no other pack replaces.

    Raises FileNotFoundError if one is removed during the read, ValueError if one is damaged.
    """
    every = all_packs(store)
    replaced = {path for pack in every.values() for path in pack.replaces}
    return {path: pack for path, pack in every.items() if path not in replaced}


def all_packs(store: Store) -> dict[str, Pack]:
    """All packs by path, including those that another pack has replaced."""
    return {path: _read(store.uri(), path) for path in store.list(FOLDER) if path.endswith(".json")}


@lru_cache(maxsize=REMEMBERED)
def _read(root: str, path: str) -> Pack:
    store = Store(root)
    data = store.read_bytes(path)
    try:
        return unpacked(data)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"damaged commit file {store.uri(path)}: {error}") from error
