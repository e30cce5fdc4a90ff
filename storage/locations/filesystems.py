"""The fsspec file system of a path or URI. Files of the web are asked for by the URL as it is written."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

WEB = ("http", "https")


def system_of(uri: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and the path there. Raises ValueError or ImportError for a URI that fsspec does not know."""
    if "://" not in uri:  # a path of this machine, also where its name holds "::", which fsspec takes for a chain
        return LocalFileSystem(**options), str(LocalFileSystem._strip_protocol(uri))
    scheme, _, rest = uri.strip().partition("://")
    if rest and scheme.lower() in WEB:
        from codi2_storage.locations.http_urls import options_of
        from codi2_storage.locations.urls import (
            parse_url,  # here: the training core has fsspec, and neither of these two
        )

        url = parse_url(uri)
        return fsspec.filesystem(url.scheme, **options_of(url.scheme), **options), url.href
    chained = {}
    if any(f"::{name}://" in uri for name in WEB):
        from codi2_storage.locations.http_urls import options_of

        chained = {name: options_of(name) for name in WEB if f"::{name}://" in uri}
    fs, path = url_to_fs(uri, **chained, **options)
    return fs, str(path)
