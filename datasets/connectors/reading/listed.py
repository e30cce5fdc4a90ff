"""Lists of media by name: tables whose rows name files in a folder, or members of tars.

With a folder, a worker takes a slice of the list and looks each row's file up. With tars, a worker takes a tar, reads
from the list the rows that belong to its members, and then the members in their order: no index of all is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codi2_datasets.connectors.base import Piece, Place, Rows
from codi2_datasets.connectors.reading.files import find, folder_identity, identity, short, stem
from codi2_datasets.connectors.reading.media import CLIPS, ENDINGS, Medium, endings_of, medium, shelved
from codi2_datasets.connectors.reading.tables import Numbered, sliced, slices
from codi2_datasets.connectors.reading.tars import ENDINGS as TAR_ENDINGS
from codi2_datasets.connectors.reading.tars import PATTERNS, members, names, split_key
from codi2_datasets.connectors.reading.values import Bad
from codi2_datasets.corpora.base import RejectedRow, SourceRow


@dataclass(frozen=True)
class Listing:
    """How one corpus' lists are read. All are plain functions.

    `files(place)` are the lists; `read(file)` their rows; `names(row)` the names, without ending, under which the medium
    of a row may lie; `describe(place, row, medium)` the rows that it gives, or why none.
    """

    files: Callable[[Place], list[str]]
    read: Callable[[str], Numbered]
    names: Callable[[Mapping[str, Any]], Sequence[str]]
    describe: Callable[[Place, str, Mapping[str, Any], Medium], Sequence[SourceRow] | Bad]
    modalities: tuple[str, ...] = ("audio",)
    beside: Callable[[Place], list[str]] = lambda place: []
    """Other files that decide the rows: a table of names, or of makers."""
    check: Callable[[str], None] = lambda file: None
    """Raises ConnectorError for a list that lacks a needed column."""


def media_of(place: Place) -> str:
    return place.media or place.path


def tars_of(place: Place) -> list[str]:
    """The tars of media, none where they lie in folders."""
    found = find(media_of(place), (*PATTERNS, *(f"*.{e}" for ends in ENDINGS.values() for e in ends)))
    return [file for file in found if file.endswith(TAR_ENDINGS)]


def pieces(place: Place, how: Listing) -> Iterator[Piece]:
    files = how.files(place)
    for file in files:
        how.check(file)
    told = [identity(file) for file in how.beside(place)]
    if tars := tars_of(place):
        lists = [*map(identity, files), *told]
        for tar in tars:
            yield Piece(place, tar, ".".join([identity(tar), *lists]), kind="tar")
        return
    shelf = folder_identity(media_of(place), endings_of(how.modalities))
    for piece in slices(place, files, lambda file: sum(1 for _ in how.read(file))):
        yield replace(piece, identity=".".join([piece.identity, shelf, *told]))


def rows(piece: Piece, how: Listing) -> Rows:
    yield from (tar_rows if piece.kind == "tar" else folder_rows)(piece, how)


def folder_rows(piece: Piece, how: Listing) -> Rows:
    place, folder = piece.place, media_of(piece.place)
    for number, row in sliced(piece, how.read(piece.file)):
        locator = f"{short(piece.file)}#{number}"
        if isinstance(row, Bad):
            yield RejectedRow(place.corpus, locator, row.reason)
            continue
        wanted = [name for name in how.names(row) if name]
        found = shelved(folder, wanted, how.modalities) if wanted else Bad("it names no medium")
        told = found if isinstance(found, Bad) else how.describe(place, locator, row, found)
        yield from [RejectedRow(place.corpus, locator, told.reason)] if isinstance(told, Bad) else told


def tar_rows(piece: Piece, how: Listing) -> Rows:
    place, tar = piece.place, short(piece.file)
    endings = {ending for kind in (*how.modalities, "video") for ending in (*ENDINGS[kind], *CLIPS)}
    present = {base(name) for name in names(piece.file) if split_key(name)[1].rpartition(".")[2] in endings}
    lines: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for file in how.files(place):
        for number, row in how.read(file):
            if isinstance(row, dict):
                for name in how.names(row):
                    if (last := name.rpartition("/")[2]) in present:
                        lines.setdefault(last, (f"{short(file)}#{number}", row))
    for item in members(piece.file):
        if isinstance(item, Bad):
            yield RejectedRow(place.corpus, tar, item.reason)
            continue
        name, data = item
        if base(name) not in present or split_key(name)[1].rpartition(".")[2] not in endings:
            continue
        if base(name) not in lines:
            yield RejectedRow(place.corpus, f"{tar}#{name}", "the list does not name it")
            continue
        locator, line = lines[base(name)]
        found = medium(data, f"{tar}#{name}", how.modalities)
        told = found if isinstance(found, Bad) else how.describe(place, locator, line, found)
        yield from [RejectedRow(place.corpus, locator, told.reason)] if isinstance(told, Bad) else told


def base(name: str) -> str:
    return stem(name) if "/" in name else name.rpartition(".")[0]


def lists(place: Place, *patterns: str) -> list[str]:
    """The lists of a corpus, by their names; of a path to single files these."""
    return [file for file in find(place.path, patterns) if not file.endswith(TAR_ENDINGS)]
