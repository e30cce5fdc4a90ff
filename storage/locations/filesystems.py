"""The fsspec file system of a path or URI. HTTP URLs are requested exactly as written."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

WEB = ("http", "https")


def system_of(uri: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and the path in it. Raises ValueError or ImportError for a URI that fsspec does not support."""
    if "://" not in uri:  # a local path, even if it contains "::", which fsspec reads as a chain
        return LocalFileSystem(**options), str(LocalFileSystem._strip_protocol(uri))
    scheme, _, rest = uri.strip().partition("://")
    if rest and scheme.lower() in WEB:
        from codi2_storage.locations.http_urls import options_of
        from codi2_storage.locations.urls import (
            parse_url,  # imported here: the bare training environment has fsspec, but neither aiohttp nor ada_url
        )

        url = parse_url(uri)
        return fsspec.filesystem(url.scheme, **options_of(url.scheme), **options), url.href
    chained = {}
    if any(f"::{name}://" in uri for name in WEB):
        from codi2_storage.locations.http_urls import options_of

        chained = {name: options_of(name) for name in WEB if f"::{name}://" in uri}
    fs, path = url_to_fs(uri, **chained, **options)
    return fs, str(path)
