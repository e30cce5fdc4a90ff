"""Packs: many commits in one file, whose rows lie in few Parquet files. `compact.py` writes them.

`catalog/commits/pack/<id>.json` holds commits word for word, but for their files, which are stretches of shared ones. A pack
never changes: its id is the hash of what it holds. While the files of the commits themselves are there as well, the
pack's word counts; a later collection removes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache

from codi2_storage.commit import Commit, Manifest
from codi2_storage.store import Store

FOLDER = "catalog/commits/pack"
REMEMBERED = 64  # packs that a process keeps in memory, about a megabyte for a thousand commits


def pack_json(commits: Iterable[Commit]) -> bytes:
    """Commits as a pack's content. Each file is told once, a commit's share of it as [number, start, rows]."""
    numbers: dict[str, int] = {}
    files: list[list[str | int]] = []
    told = []
    for commit in sorted(commits, key=lambda commit: (commit.kind, commit.id)):
        for file in commit.files:
            if file.path not in numbers:
                numbers[file.path] = len(files)
                files.append([file.table, file.path, file.sha256, file.rows if file.of is None else file.of])
        shares = [[numbers[file.path], file.start, file.rows] for file in commit.files]
        told.append([commit.id, commit.kind, shares, commit.uses, commit.info])
    return json.dumps({"files": files, "commits": told}, separators=(",", ":")).encode()


def unpacked(data: bytes) -> list[Commit]:
    """The commits of a pack's content."""
    content = json.loads(data)
    found = []
    for name, kind, shares, uses, info in content["commits"]:
        manifests = []
        for number, start, rows in shares:
            table, path, sha256, of = content["files"][number]
            manifests.append(Manifest(table, path, rows, sha256, start, of))
        found.append(Commit(name, kind, manifests, uses, info))
    return found


def write_pack(store: Store, commits: Iterable[Commit]) -> str:
    """Publish commits as one pack, all at once. Returns its path."""
    data = pack_json(commits)
    path = f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:16]}.json"
    store.write_bytes(path, data, durable=True)
    return path


def packs(store: Store) -> list[str]:
    """The paths of all packs, asked anew: others write them."""
    store.fs.invalidate_cache(store.path(FOLDER))
    return [path for path in store.list(FOLDER) if path.endswith(".json")]


def read_pack(store: Store, path: str) -> dict[tuple[str, str], Commit]:
    """The commits of a pack by (kind, id). Raises FileNotFoundError where it was removed meanwhile, ValueError where it is
    damaged."""
    return _read(store.uri(), path)


@lru_cache(maxsize=REMEMBERED)
def _read(root: str, path: str) -> dict[tuple[str, str], Commit]:
    store = Store(root)
    data = store.read_bytes(path)
    try:
        return {(commit.kind, commit.id): commit for commit in unpacked(data)}
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"damaged commit file {store.uri(path)}: {error}") from error


def find_packed(store: Store, kind: str, commit_id: str) -> Commit | None:
    """A commit that lies in a pack, or None."""
    for path in packs(store):
        try:
            found = read_pack(store, path).get((kind, commit_id))
        except FileNotFoundError:  # replaced since it was listed, by one that is listed as well
            continue
        if found is not None:
            return found
    return None
