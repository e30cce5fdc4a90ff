"""Corpora of text alone: rows of JSON lists, JSON lines or Parquet, whichever the file is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from codi2_datasets.connectors.base import Piece, Place, Rows
from codi2_datasets.connectors.reading import tables
from codi2_datasets.connectors.reading.files import DAMAGE, damage, find, opened, short
from codi2_datasets.connectors.reading.json_items import json_items
from codi2_datasets.connectors.reading.values import Bad, need
from codi2_datasets.corpora.base import RejectedRow, SourceRow

PATTERNS = ("*.json", "*.jsonl", "*.parquet", "*.json.gz", "*.jsonl.gz", "*.json.zst", "*.jsonl.zst")
Describe = Callable[[Place, str, Mapping[str, Any]], SourceRow | Bad]


def read(file: str) -> tables.Numbered:
    """JSON lists are told from JSON lines by their first character."""
    if not begins_a_list(file):
        yield from tables.json_lines(file)
        return
    for n, (_, entry) in enumerate(json_items(file)):
        yield n, entry if isinstance(entry, dict | Bad) else Bad("no JSON object")


def begins_a_list(file: str) -> bool:
    try:
        with opened(file) as stream:
            return stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except DAMAGE as error:
        damage(error)
        return False


def pieces(place: Place, fields: Sequence[tuple[str, ...]]) -> Iterator[Piece]:
    """Row groups of Parquet, slices of the rest; the first row of JSON must have the fields."""
    files = find(place.path, PATTERNS)
    if any(file.endswith(".parquet") for file in files):
        yield from tables.parquet_pieces(place, *fields)
    others = [file for file in files if not file.endswith(".parquet")]
    for file in others:
        first = next((row for _, row in read(file) if isinstance(row, dict)), None)
        if first is not None:
            need(file, first, *fields)
    yield from tables.slices(place, others, lambda file: sum(1 for _ in read(file)), kind="json")


def rows(piece: Piece, describe: Describe) -> Rows:
    found = (tables.sliced(piece, read(piece.file)) if piece.kind == "json"
             else tables.parquet_rows(piece.file, piece.part or 0))  # fmt: skip
    for n, row in found:
        locator = f"{short(piece.file)}#{n}"
        told = row if isinstance(row, Bad) else describe(piece.place, locator, row)
        yield RejectedRow(piece.place.corpus, locator, told.reason) if isinstance(told, Bad) else told
