"""What a connector is, and what it takes and yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow

Rows = Iterator[SourceRow | RejectedRow]
UNKNOWN_LICENCE = "LicenseRef-"  # how licences begin that are nobody's to give: works found on the web


class ConnectorError(ValueError):
    """Published files cannot be used as they are; the message names the file and what is missing in it."""


@dataclass(frozen=True)
class Place:
    """Where one user keeps a published corpus, and how he wants it read. Plain and picklable."""

    corpus: str
    """Its name in the dataset: the connector's own, or the recipe's label."""
    path: str
    """Of the published files: a file, a folder, or a pattern; any fsspec URI. Several are parted by semicolons."""
    media: str = ""
    """Of the media where they lie elsewhere: a folder, or tars (a pattern, or a folder of them)."""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """What one worker reads at a time: a file, or a part of one (a row group, a slice of its rows)."""

    place: Place
    file: str
    """URI of the file."""
    identity: str
    """Changes when the content does: sha256 of a local file, the store's own tag of a remote one."""
    part: int | None = None
    kind: str = ""
    """For connectors that read files of several kinds: which one this is."""


@dataclass(frozen=True)
class Link:
    """One address of a list: what the fetcher needs, and what its tar hands back with the medium."""

    row_id: str
    """The file and the row of it; the same in every run."""
    url: str
    caption: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    author: str = ""
    sha256: str = ""
    md5: str = ""


@dataclass(frozen=True)
class Connector:
    """One published corpus. `pieces` and `rows` are plain functions of a module: they travel to workers by name."""

    name: str
    version: str
    """Of the code that reads it: a change of what it yields changes this."""
    description: str
    homepage: str
    licence: str
    """SPDX id of its rows, or of the strictest of them; LicenseRef-... where the works are not its makers' to license."""
    terms: str
    """In a sentence: what the licence covers, and what a user has to accept or find out."""
    size: str
    tasks: tuple[str, ...]
    pieces: Callable[[Place], Iterator[Piece]]
    """Cuts the files; raises ConnectorError for those that lack a needed column."""
    rows: Callable[[Piece], Rows]
    links: Callable[[Place], Iterator[Link | RejectedRow]] | None = None
    """Every address of the lists, where there are any."""
    options: dict[str, Any] = field(default_factory=dict)
    """What a recipe may say beside path and media, with the values where it does not; `licence` goes for all."""
