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

from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation, InputSplit, Link
from codi2_datasets.runtime.plugins import Kind

__all__ = ["Connector", "ConnectorError", "CorpusLocation", "InputSplit", "Link", "connectors"]


KIND = Kind("connectors", __name__, "CONNECTOR", "CONNECTORS")


@cache
def connectors() -> dict[str, Connector]:
    """All connectors, by name."""
    return KIND.parts()
