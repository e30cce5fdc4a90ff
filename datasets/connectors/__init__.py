"""Connectors: published corpora, read from a user's own copy of the published files, unchanged.

Each is one small file with a `CONNECTOR` (or several, `CONNECTORS`); adding a file adds the corpus. A corpus in
`corpora/` knows where it comes from and is fetched; these are large, or under terms that each user accepts for himself,
so the recipe says where the files lie: `{name: laion, path: s3://bucket/part-*.parquet, media: s3://bucket/fetched}`.

A connector cuts the files into pieces and reads one piece at a time, in bounded memory, on any worker. Each row of a file gives
a RowResult: source rows, or a RejectedRow with its reason; `Connector.rows` counts that none is lost. What makes a whole file useless, such as a column that is not there, is an error
that names file and column, before any work. Where the files hold addresses and no media, `links` gives them to the fetcher
(`codi2 fetch`), whose tars are then named under `media`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.connectors.base import Connector, ConnectorError, Link, Piece, Place

__all__ = ["Connector", "ConnectorError", "Link", "Piece", "Place", "connectors"]


@cache
def connectors() -> dict[str, Connector]:
    """Every connector, by name. Raises ValueError when two have one name."""
    found: dict[str, Connector] = {}
    for info in iter_modules(__path__):
        if info.ispkg:  # `reading`: what connectors share
            continue
        module = import_module(f"{__name__}.{info.name}")
        single = getattr(module, "CONNECTOR", None)
        for connector in getattr(module, "CONNECTORS", () if single is None else (single,)):
            if connector.name in found:
                raise ValueError(f"two connectors are named {connector.name!r}")
            found[connector.name] = connector
    return dict(sorted(found.items()))
