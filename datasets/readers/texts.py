"""Text-only corpora: rows of JSON lists, JSON lines or Parquet, by file type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codi2_datasets.readers import tables
from codi2_datasets.readers.base import CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.files import find
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.results import Describe, results
from codi2_datasets.readers.values import need_fields

PATTERNS = ("*.json", "*.jsonl", "*.parquet", "*.json.gz", "*.jsonl.gz", "*.json.zst", "*.jsonl.zst")


def is_parquet(file: str) -> bool:
    return file.lower().endswith(".parquet")


def pieces(place: CorpusLocation, fields: Sequence[tuple[str, ...]]) -> Iterator[InputSplit]:
    """Row groups of Parquet, slices of other files. The first rows of JSON must have the fields; raises ConnectorError."""
    files = find(place.path, PATTERNS)
    yield from tables.pieces_of_parquet(place, [file for file in files if is_parquet(file)], *fields)
    others = [file for file in files if not is_parquet(file)]
    for file in others:
        need_fields(file, json_rows(file), *fields)
    yield from tables.slices(place, others, json_rows, kind="json")


def rows(piece: InputSplit, describe: Describe) -> Rows:
    numbered = (tables.sliced(piece, json_rows(piece.file)) if piece.kind == "json"
             else tables.parquet_rows(piece.file, piece.part or 0))  # fmt: skip
    yield from results(piece, numbered, describe)
