"""Connectors read published corpora from a user's own unmodified copy of the published files.

Each is one small file with a `CONNECTOR` (or several, `CONNECTORS`); adding a file registers it. A corpus in `corpora/`
has a known source and is fetched. Published corpora are large, or under terms that each user must accept, so the recipe
gives their location: `{name: laion, path: s3://bucket/part-*.parquet, media: s3://bucket/fetched}`.

A connector divides the files into pieces and reads one piece at a time, in bounded memory, on any worker. Each row of a
file gives a RowResult: source rows, or a RejectedRow with its reason; `Connector.rows` checks that none is lost. A
problem that makes a whole file useless, such as a missing column, is an error that names file and column, before any
work. If the files hold URLs instead of media, `links` passes them to the fetcher (`codi2 fetch`), whose tars are then
given as `media`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation, InputSplit, Link

__all__ = ["Connector", "ConnectorError", "CorpusLocation", "InputSplit", "Link", "connectors"]


@cache
def connectors() -> dict[str, Connector]:
    """All connectors, by name. Raises ValueError if two have the same name."""
    by_name: dict[str, Connector] = {}
    for info in iter_modules(__path__):
        if info.ispkg:  # packages are not connectors
            continue
        module = import_module(f"{__name__}.{info.name}")
        single = getattr(module, "CONNECTOR", None)
        for connector in getattr(module, "CONNECTORS", () if single is None else (single,)):
            if connector.name in by_name:
                raise ValueError(f"two connectors are named {connector.name!r}")
            by_name[connector.name] = connector
    return dict(sorted(by_name.items()))
