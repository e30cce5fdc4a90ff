"""Converts the rows of a file to results: each gives source rows, or a reject with its location and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers.base import CorpusLocation, InputSplit, RowCount, RowResult, Rows
from codi2_datasets.readers.files import short
from codi2_datasets.readers.values import Bad, Elsewhere, Numbered

Given = SourceRow | Bad | Elsewhere | Iterable[SourceRow | RejectedRow]
Describe = Callable[[CorpusLocation, str, Mapping[str, Any]], Given]
NOTHING = Bad("nothing of it can be used")


def results(piece: InputSplit, rows: Iterable[tuple[Any, Any]], describe: Describe) -> Rows:
    """The result of each (number or key, row) of a piece, in order."""
    number = 0
    for key, row in rows:
        locator = f"{short(piece.file)}#{key}"
        outcome = result(piece.place, locator, describe(piece.place, locator, row) if isinstance(row, Mapping) else row)
        number += outcome.inputs
        yield outcome
    if piece.rows is None:
        yield RowCount(number)


def only_objects(rows: Iterable[tuple[Any, Any]]) -> Numbered:
    """Rows of JSON; those that are no objects become `Bad`."""
    return ((key, row if isinstance(row, dict | Bad) else Bad("no JSON object")) for key, row in rows)


def result(place: CorpusLocation, locator: str, made: Given) -> RowResult:
    """The result of one row; if nothing was made from it, a reject."""
    if isinstance(made, Elsewhere):
        return RowResult((), elsewhere=True)
    if isinstance(made, SourceRow):
        return RowResult((made,))
    rows = () if isinstance(made, Bad) else tuple(made)
    if rows:
        return RowResult(rows)
    bad = made if isinstance(made, Bad) else NOTHING
    return RowResult((RejectedRow(place.corpus, locator, bad.reason),), bad.rows)
