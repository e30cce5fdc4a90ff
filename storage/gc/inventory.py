"""Inventory of a root for garbage collection: its commits, packs and files, and the files that no commit names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from codi2_storage.build_cache import FOLDER as CACHE
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.commit import Commit
from codi2_storage.commits.packs import Pack, all_packs
from codi2_storage.gc.retention import Key
from codi2_storage.store import Store, Stored

COMMITS = "catalog/commits"
FOLDERS = {
    "catalog": "manifest", "assets": "normalised media", "shards": "shard", "builds": "pages of a build",
    "runs": "files of a run", "evaluations": "pages of an evaluation", CACHE: "cached result",
}  # fmt: skip
OF_COMMIT = {
    "builds": "build",
    "runs": "run",
    "evaluations": "run",
}  # folders whose subfolders are named after a commit of that kind
ORPHAN, UNFINISHED, PACKED = "no kept commit references it", "unfinished write", "contained in a pack"


@dataclass(frozen=True)
class PendingDeletion:
    """A file or commit that is, or would be, removed. `name`: its path."""

    kind: str
    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class RootInventory:
    """Commits, packs and files of a root at one moment."""

    store: Store
    commits: list[Commit]
    packs: dict[str, Pack]
    """Includes packs that another pack has replaced."""
    files: dict[str, Stored]
    since: float
    """Files written after this moment (seconds since 1970) are young."""

    @classmethod
    def of(cls, store: Store, since: float) -> RootInventory:
        files = {file.name: file for top in FOLDERS for file in store.files(top)}
        return cls(store, Catalog(store).commits, all_packs(store), files, since)

    def young(self, path: str) -> bool:
        file = self.files.get(path)
        return file is not None and file.modified > self.since

    @cached_property
    def replaced(self) -> dict[str, str]:
        """The packs that another pack has replaced, each with its replacement."""
        return {old: new for new, pack in self.packs.items() for old in pack.replaces if old in self.packs}

    @cached_property
    def pack_of(self) -> dict[Key, str]:
        """The path of the pack that holds a packed commit."""
        counting = {path: pack for path, pack in self.packs.items() if path not in self.replaced}
        return {key: path for path, pack in counting.items() for key in pack.commits}

    def path_of(self, key: Key) -> str:
        """The file that makes a commit visible."""
        return self.pack_of.get(key, f"{COMMITS}/{key[0]}/{key[1]}.json")

    def redundant_files(self) -> list[PendingDeletion]:
        """Commit files and packs made redundant by a pack that is older than the grace period."""
        redundant = []
        for (kind, name), pack in self.pack_of.items():
            file = self.files.get(f"{COMMITS}/{kind}/{name}.json")
            if file and not self.young(pack):
                redundant.append(PendingDeletion("commit", file.name, file.bytes, PACKED))
        for old, new in self.replaced.items():
            if not self.young(new):
                redundant.append(PendingDeletion("pack", old, self.files[old].bytes, PACKED))
        return sorted(redundant, key=lambda item: item.name)

    def unnamed(self, left: Iterable[Commit]) -> tuple[list[PendingDeletion], list[PendingDeletion]]:
        """Files that none of the commits names: (older than the grace period, younger)."""
        named = Named.by(self, list(left))
        newest: dict[str, float] = {}
        for file in self.files.values():
            newest[owner(file.name)] = max(newest.get(owner(file.name), 0.0), file.modified)
        old: list[PendingDeletion] = []
        young: list[PendingDeletion] = []
        for file in self.files.values():
            unfinished = any(part.startswith(".") and part.endswith(".part") for part in file.name.split("/"))
            if not unfinished and (file.name.startswith(f"{COMMITS}/") or named.names(file.name)):
                continue
            kind = "unfinished file" if unfinished else FOLDERS[file.name.partition("/")[0]]
            item = PendingDeletion(kind, file.name, file.bytes, UNFINISHED if unfinished else ORPHAN)
            written = file.modified if unfinished else newest[owner(file.name)]
            (young if written > self.since else old).append(item)
        return old, young


def owner(name: str) -> str:
    """What a file belongs to: the folder of its build, run or evaluation, otherwise the file itself."""
    top, _, rest = name.partition("/")
    return f"{top}/{rest.partition('/')[0]}" if top in OF_COMMIT else name


@dataclass(frozen=True)
class Named:
    """What commits name: manifests and shards by path, cached results by key, everything else by id."""

    paths: frozenset[str]
    ids: dict[str, frozenset[str]]
    """By kind of commit."""
    cached: frozenset[str]
    twice: frozenset[str]
    """Commits whose own manifests may still be in use by readers that listed them before they were packed."""

    @classmethod
    def by(cls, held: RootInventory, left: list[Commit]) -> Named:
        ids = {kind: frozenset(c.id for c in left if c.kind == kind) for kind in ("build", "run", "ingest")}
        paths = {file.path for commit in left for file in commit.files}
        for old, new in held.replaced.items():
            if held.young(new):
                paths |= {file.path for commit in held.packs[old].commits.values() for file in commit.files}
        with Catalog(held.store).connect(only=ids["build"], tables=["shards"]) as connection:
            paths |= {shard for (shard,) in connection.execute("select distinct shard from shards").fetchall()}
        cached = frozenset(key for commit in left for key in commit.info.get("cached", ()))
        twice = {c.id for c in left if (pack := held.pack_of.get((c.kind, c.id))) and held.young(pack)}
        return cls(frozenset(paths), ids, cached, frozenset(twice))

    def names(self, file: str) -> bool:
        parts = file.split("/")
        top, folder, name = parts[0], parts[-2] if len(parts) > 1 else "", parts[-1]
        if top in OF_COMMIT:
            return owner(file).partition("/")[2] in self.ids[OF_COMMIT[top]]
        if top == CACHE:
            return folder in self.cached
        if top == "assets":
            return name.removesuffix(".tar") in self.ids["ingest"]
        if top == "shards":
            return file in self.paths or file.removesuffix(".json") + ".tar" in self.paths
        return file in self.paths or folder.removeprefix("build=") in self.twice
