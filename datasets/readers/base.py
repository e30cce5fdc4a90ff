"""Interface of connectors: Connector, its inputs (CorpusLocation, InputSplit) and its results (RowResult, RowCount, Link)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_storage.errors import UsageError

UNKNOWN_LICENCE = "LicenseRef-"  # prefix of licences that nobody in the project can grant: works found on the web


class LostRows(RuntimeError):
    """A connector returned fewer or more results than its file has rows: an error in the connector."""


class ConnectorError(UsageError):
    """Published files cannot be used as they are. The message names the file and what is missing."""


@dataclass(frozen=True)
class CorpusLocation:
    """The location of a user's copy of a published corpus, with reading options. Plain and picklable."""

    corpus: str
    """Its name in the dataset: the connector's own, or the recipe's label."""
    path: str
    """The published files: a file, a folder, or a pattern; any fsspec URI. Several are separated by semicolons."""
    media: str = ""
    """The media if they are elsewhere: a folder, or tars (a pattern, or a folder of them)."""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputSplit:
    """The unit of work of one worker: a file, or a part of one (a row group, a slice of its rows)."""

    place: CorpusLocation
    file: str
    """URI of the file."""
    identity: str
    """Changes with the content: sha256 of a local file, the store's own tag of a remote one."""
    part: int | None = None
    kind: str = ""
    """For connectors that read several kinds of files: the kind of this one."""
    rows: int | None = None
    """Number of rows, if it was counted when the file was divided."""


@dataclass(frozen=True)
class RowResult:
    """The result of one row of a published file: source rows, or rejects with the reason."""

    rows: tuple[SourceRow | RejectedRow, ...]
    inputs: int = 1
    """Number of file rows that it accounts for: several if the rest of a file is damaged."""
    elsewhere: bool = False
    """Whether this row is covered by the result of another row."""


@dataclass(frozen=True)
class RowCount:
    """Number of rows that a piece held, counted during reading if it was not counted before."""

    rows: int


Rows = Iterator[RowResult | RowCount]


@dataclass(frozen=True)
class Link:
    """One URL of a list: the input of the fetcher, and what its tar returns with the medium."""

    row_id: str
    """The file and its row number; the same in every run."""
    url: str
    caption: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    author: str = ""
    sha256: str = ""
    md5: str = ""


@dataclass(frozen=True)
class Connector:
    """One published corpus. `pieces` and `results` are module-level functions, so that they can be pickled for workers."""

    name: str
    version: str
    """Version of the reading code: change it whenever the results change."""
    description: str
    homepage: str
    licence: str
    """SPDX id of its rows, or of the strictest of them; LicenseRef-... if its authors cannot license the works."""
    terms: str
    """One sentence: what the licence covers, and what a user has to accept or find out."""
    size: str
    tasks: tuple[str, ...]
    pieces: Callable[[CorpusLocation], Iterator[InputSplit]]
    """Divides the files; raises ConnectorError if one lacks a needed column."""
    results: Callable[[InputSplit], Rows]
    """The result of every row of a piece, and the number of rows if `InputSplit.rows` is None."""
    links: Callable[[CorpusLocation], Iterator[Link | RejectedRow]] | None = None
    """All URLs of the lists, if there are any."""
    options: dict[str, Any] = field(default_factory=dict)
    """Recipe options besides path and media, with their defaults; `licence` is an option of all connectors."""

    def rows(self, piece: InputSplit) -> Iterator[SourceRow | RejectedRow]:
        """The source rows and rejects of a piece. Raises LostRows, at the end, unless every row has a result."""
        held, answered = piece.rows, 0
        for result in self.results(piece):
            if isinstance(result, RowCount):
                held = result.rows
                continue
            if not result.rows and not result.elsewhere:
                raise LostRows(f"{self.name}: {piece.file}: row {answered} gives neither a row nor a reject")
            answered += result.inputs
            yield from result.rows
        if answered != held:
            counted = "an unknown number of" if held is None else held
            raise LostRows(f"{self.name}: {piece.file} holds {counted} rows, and {answered} were accounted for")
