"""Lists of media by name: tables whose rows name files in a folder, or members of tars.

With a folder, a worker takes a slice of the list and looks up each row's file. With tars, a worker takes a tar, reads
the list's rows that belong to its members, and then the members in order: no complete index is held in memory. Rows
whose medium is in no tar are rejected by the workers that take slices of the list, which read the names of all tars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers.base import CorpusLocation, InputSplit, RowCount, RowResult, Rows
from codi2_datasets.readers.files import find, folder_identity, identity, kept, matches, short, stem
from codi2_datasets.readers.media import RawMedium, medium
from codi2_datasets.readers.results import Describe, result, results
from codi2_datasets.readers.shelf import (
    EVERY_ENDING,
    endings_of,
    ends_with,
    same_name,
    shelved,
    without_ending,
)
from codi2_datasets.readers.tables import sliced, slices
from codi2_datasets.readers.tars import PATTERNS, Member, is_tar, opened_tar
from codi2_datasets.readers.tars import names as tar_names
from codi2_datasets.readers.values import Bad, Elsewhere, Numbered

Index = dict[str, list[tuple[str, str]]]
"""Media in tars by their base name without extension: (tar, member)."""


@dataclass(frozen=True)
class Line:
    """A row of a list, with its locator."""

    locator: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """How the lists of one corpus are read. All fields are plain functions.

    `files(place)`: the lists; `read(file)`: their rows; `names(row)`: the possible names of a row's medium, with or
    without extension, best first; `describe(place, locator, row, medium)`: the resulting rows, or Bad with the reason.
    """

    files: Callable[[CorpusLocation], list[str]]
    read: Callable[[str], Numbered]
    names: Callable[[Mapping[str, Any]], Sequence[str]]
    describe: Callable[[CorpusLocation, str, Mapping[str, Any], RawMedium], Sequence[SourceRow] | Bad]
    modalities: tuple[str, ...] = ("audio",)
    beside: Callable[[CorpusLocation], list[str]] = lambda place: []
    """Other files that determine the rows: a table of names, or of authors."""
    check: Callable[[str], None] = lambda file: None
    """Raises ConnectorError for a list that lacks a needed column."""


def media_of(place: CorpusLocation) -> str:
    return place.media or place.path


def tars_of(place: CorpusLocation) -> list[str]:
    """The tars of media; none if media are in folders."""
    files = find(media_of(place), (*PATTERNS, *(f"*.{ending}" for ending in EVERY_ENDING)))
    return [file for file in files if is_tar(file)]


def lists(place: CorpusLocation, *patterns: str) -> list[str]:
    """The lists of a corpus, by their names; if the path names single files, those."""
    return [file for file in find(place.path, patterns) if not is_tar(file)]


def pieces(place: CorpusLocation, how: Listing) -> Iterator[InputSplit]:
    files = how.files(place)
    for file in files:
        how.check(file)
    others = [identity(file) for file in how.beside(place)]
    tars = tars_of(place)
    shelf = [identity(tar) for tar in tars] if tars else [folder_identity(media_of(place), endings_of(how.modalities))]
    if tars:
        of_lists = [*map(identity, files), *others]
        yield from (
            InputSplit(place, tar, ".".join([own, *of_lists]), kind="tar") for tar, own in zip(tars, shelf, strict=True)
        )
    for piece in slices(place, files, how.read, kind="list" if tars else ""):
        yield replace(piece, identity=".".join([piece.identity, *shelf, *others]))


def rows(piece: InputSplit, how: Listing) -> Rows:
    if piece.kind == "tar":
        yield from tar_rows(piece, how)
        return
    describe: Describe
    if piece.kind == "list":
        describe = partial(beside_tars, how=how, index=names_in(tuple(tars_of(piece.place)), how.modalities))
    else:
        describe = partial(from_folder, how=how)
    yield from results(piece, sliced(piece, how.read(piece.file)), describe)


def from_folder(place: CorpusLocation, locator: str, row: Mapping[str, Any], how: Listing) -> Sequence[SourceRow] | Bad:
    wanted = [name for name in how.names(row) if name]
    located = shelved(media_of(place), wanted, how.modalities) if wanted else Bad("it names no medium")
    return located if isinstance(located, Bad) else how.describe(place, locator, row, located)


# --- tars --------------------------------------------------------------------------------------------------------


def tar_rows(piece: InputSplit, how: Listing) -> Rows:
    """Each member with the list rows that name it; a member that is no medium belongs to none."""
    place, tar = piece.place, short(piece.file)
    with opened_tar(piece.file) as archive:
        lines = rows_by_member(
            place, how, names_index(tar, [member.name for member in archive.members], how.modalities)
        )
        for member in archive.members:
            if may_be(member.name, how.modalities):
                yield member_result(place, tar, member, archive.read, how, lines.get(member.name, []))
            else:
                yield RowResult((), elsewhere=True)
        for name, bad in archive.bad:
            yield result(place, f"{tar}#{name}", bad)
        yield RowCount(archive.held)


def member_result(
    place: CorpusLocation,
    tar: str,
    member: Member,
    read: Callable[[Member], bytes | Bad],
    how: Listing,
    lines: Sequence[Line],
) -> RowResult:
    own = f"{tar}#{member.name}"
    if not lines:
        return result(place, own, Bad("the list does not name it"))
    data = read(member)
    located = data if isinstance(data, Bad) else medium(data, own, how.modalities)
    per_line = [
        result(
            place,
            line.locator,
            located if isinstance(located, Bad) else how.describe(place, line.locator, line.row, located),
        )
        for line in lines
    ]
    return RowResult(tuple(row for one in per_line for row in one.rows))


def may_be(name: str, modalities: Sequence[str]) -> bool:
    return matches(name, (*endings_of(modalities), *endings_of(("video",))))


def names_index(tar: str, names: Iterable[str], modalities: Sequence[str]) -> Index:
    index: Index = {}
    for name in names:
        if may_be(name, modalities):
            index.setdefault(same_name(stem(name)), []).append((tar, name))
    return index


def members_of(index: Index, wanted: Iterable[str]) -> list[tuple[str, str]]:
    """(tar, member) for the first of the wanted names that exists, one per tar.

    If files in several folders of a tar have the name, it is ambiguous and matches none.
    """
    for name in wanted:
        plain = without_ending(same_name(name))
        there: dict[str, list[str]] = {}
        for tar, member in index.get(plain.rpartition("/")[2], ()) if plain else ():
            if ends_with(same_name(member).rpartition(".")[0], plain):
                there.setdefault(tar, []).append(member)
        if there:
            alone = {
                tar: members
                for tar, members in there.items()
                if len({name.rpartition("/")[0] for name in members}) == 1
            }
            return [(tar, members[0]) for tar, members in alone.items()]
    return []


def rows_by_member(place: CorpusLocation, how: Listing, index: Index) -> dict[str, list[Line]]:
    """For each member of a tar, the rows that name it."""
    by_member: dict[str, list[Line]] = {}
    for file in how.files(place):
        for number, row in how.read(file):
            for _, member in members_of(index, how.names(row)) if isinstance(row, dict) else ():
                by_member.setdefault(member, []).append(Line(f"{short(file)}#{number}", row))  # type: ignore[arg-type]
    return by_member


@kept(2)
def names_in(tars: tuple[str, ...], modalities: tuple[str, ...]) -> Index:
    """The media of all tars, about 200 bytes of memory each."""
    index: Index = {}
    for tar in tars:
        for name, places in names_index(tar, tar_names(tar), modalities).items():
            index.setdefault(name, []).extend(places)
    return index


def beside_tars(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], how: Listing, index: Index
) -> Bad | Elsewhere:
    """The result of a list row when media are in tars: its rows come with the tar member, if there is one."""
    wanted = [name for name in how.names(row) if name]
    if not wanted:
        return Bad("it names no medium")
    return Elsewhere() if members_of(index, wanted) else Bad("its medium is in none of the tars")
