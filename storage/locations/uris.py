"""URIs inside a root are stored relative to it, so that a root can be moved, copied and mounted elsewhere.

`relative` is how a URI is written into a root, `absolute` how it is read out of one. Nothing else looks at stored URIs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from codi2_storage.store import Store

ROOT = "."  # the root itself
LOCAL = ("file", "local")  # protocols of this machine's file system
MADE_HERE = ("runs", "evaluations")  # folders that catalogs of earlier versions name by absolute URIs


def relative(store: Store, uri: str) -> str:
    """A path or URI as the root stores it: relative where it lies inside, absolute elsewhere.

    A relative path counts from the working folder; where nothing lies there, from the root.
    """
    name = inside(store, uri)
    if name is not None:
        return name
    if not is_absolute(uri) and not os.path.exists(uri) and store.exists(uri):
        return uri.rstrip("/")
    return local(uri) if protocol_of(uri) in LOCAL else uri


def absolute(store: Store, stored: str) -> str:
    """A stored URI as it can be opened now. One that an earlier version stored absolute, of a root that has moved since, is
    the same file in this root where that has it."""
    if not is_absolute(stored):
        return store.uri("" if stored == ROOT else stored)
    name = inside(store, stored)
    if name is None:
        name = moved(store, stored)
    return stored if name is None else store.uri("" if name == ROOT else name)


def located(store: Store, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table with its `uri`, where it has one, as it can be opened now."""
    uri = row.get("uri")
    return {**row, "uri": absolute(store, uri)} if uri else dict(row)


def identity(store: Store) -> str:
    """The same for every spelling of a root: relative or absolute, through links, with or without a slash at its end."""
    return os.path.realpath(store.base) if store.is_local else store.uri()


def inside(store: Store, uri: str) -> str | None:
    """The name of a path or URI within the root, ROOT for the root itself; None where it lies elsewhere."""
    protocols = store.fs.protocol
    if not uri or protocol_of(uri) not in ((protocols,) if isinstance(protocols, str) else protocols):
        return None
    path = local(uri) if store.is_local else str(store.fs._strip_protocol(uri)).rstrip("/")
    pairs = [(store.base, path)]
    if store.is_local:
        pairs.append((os.path.realpath(store.base), os.path.realpath(path)))
    for base, place in pairs:
        if place == base:
            return ROOT
        if place.startswith(f"{base.rstrip('/')}/") and ".." not in place.split("/"):
            return place[len(base.rstrip("/")) + 1 :]
    return None


def moved(store: Store, stored: str) -> str | None:
    """The name within this root at the end of an absolute URI, of the folders that earlier versions named so: where it is
    there, or where the root knows the run that made it."""
    parts = stored.rstrip("/").split("/")
    for n, part in enumerate(parts[:-1]):
        name = "/".join(parts[n:])
        if part in MADE_HERE and (store.exists(name) or store.exists(f"catalog/commits/run/{parts[n + 1]}.json")):
            return name
    return None


def is_absolute(uri: str) -> bool:
    return "://" in uri or os.path.isabs(uri)


def protocol_of(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else LOCAL[0]


def local(uri: str) -> str:
    """The absolute path of a path or a file: URI."""
    return str(Path(LocalFileSystem._strip_protocol(uri)).absolute())
