"""URIs inside a root are stored relative to it, so that a root can be moved, copied and mounted elsewhere.

`relative` converts a URI on writing, `absolute` on reading. No other code interprets stored URIs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from codi2_storage.store import Store

ROOT = "."  # the root itself
LOCAL = ("file", "local")  # protocols of the local file system


def relative(store: Store, uri: str) -> str:
    """A path or URI in the form that the root stores: relative if it lies inside the root, otherwise absolute.

    A relative path is resolved against the working directory; if nothing exists there, against the root.
    """
    name = inside(store, uri)
    if name is not None:
        return name
    if not is_absolute(uri) and not os.path.exists(uri) and store.exists(uri):
        return uri.rstrip("/")
    return local(uri) if protocol_of(uri) in LOCAL else uri


def absolute(store: Store, stored: str) -> str:
    """Convert a stored URI to one that can be opened now."""
    return stored if is_absolute(stored) else store.uri("" if stored == ROOT else stored)


def located(store: Store, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table with its `uri`, if it has one, converted to one that can be opened now."""
    uri = row.get("uri")
    return {**row, "uri": absolute(store, uri)} if uri else dict(row)


def identity(store: Store) -> str:
    """An id of the root that is the same for every spelling: relative, absolute, through links, with or without a
    final slash.
    """
    return os.path.realpath(store.base) if store.is_local else store.uri()


def inside(store: Store, uri: str) -> str | None:
    """The name of a path or URI within the root, ROOT for the root itself; None if it lies elsewhere."""
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


def is_absolute(uri: str) -> bool:
    return "://" in uri or os.path.isabs(uri)


def protocol_of(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else LOCAL[0]


def local(uri: str) -> str:
    """The absolute path of a path or a file: URI."""
    return str(Path(LocalFileSystem._strip_protocol(uri)).absolute())
