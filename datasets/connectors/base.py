"""What a connector is, and what it takes and yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow

UNKNOWN_LICENCE = "LicenseRef-"  # how licences begin that are nobody's to give: works found on the web


class LostRows(RuntimeError):
    """A connector gave fewer or more results than its file has rows: an error in the connector."""


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
    rows: int | None = None
    """How many rows of the file it holds, where that was counted when the file was cut."""


@dataclass(frozen=True)
class RowResult:
    """What one row of a published file gives: source rows, or rejects that say why it gives none."""

    rows: tuple[SourceRow | RejectedRow, ...]
    inputs: int = 1
    """Rows of the file that it answers for: several where the rest of a file is damaged."""
    elsewhere: bool = False
    """Whether the result of another row holds what this one says."""


@dataclass(frozen=True)
class Held:
    """How many rows a piece was seen to hold while it was read, where that was not counted before."""

    rows: int


Rows = Iterator[RowResult | Held]


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
    """One published corpus. `pieces` and `results` are plain functions of a module: they travel to workers by name."""

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
    results: Callable[[Piece], Rows]
    """What every row of a piece gives, and where `Piece.rows` does not say it how many rows there are."""
    links: Callable[[Place], Iterator[Link | RejectedRow]] | None = None
    """Every address of the lists, where there are any."""
    options: dict[str, Any] = field(default_factory=dict)
    """What a recipe may say beside path and media, with the values where it does not; `licence` goes for all."""

    def rows(self, piece: Piece) -> Iterator[SourceRow | RejectedRow]:
        """The source rows and rejects of a piece. Raises LostRows, at the end, unless every row of it has given some."""
        held, answered = piece.rows, 0
        for result in self.results(piece):
            if isinstance(result, Held):
                held = result.rows
                continue
            if not result.rows and not result.elsewhere:
                raise LostRows(f"{self.name}: {piece.file}: row {answered} gives neither a row nor a reject")
            answered += result.inputs
            yield from result.rows
        if answered != held:
            told = "an unknown number of" if held is None else held
            raise LostRows(f"{self.name}: {piece.file} holds {told} rows, and {answered} were accounted for")
