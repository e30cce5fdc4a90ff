"""MagicBrush: photographs edited by people, step by step.

Parquet (img_id, turn_index, source_img, mask_img, instruction, target_img). Two image rows and one text row per turn.
Attributes: kind 'photo', 'edit'; family (the photograph), turn, ref, media.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers import tables
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.edits import Edit, edit_rows
from codi2_datasets.readers.results import results
from codi2_datasets.readers.values import known, number, string

LICENCE, AUTHOR = "CC-BY-4.0", "OSU NLP Group"
NEEDED = (("source_img",), ("instruction",), ("target_img",))


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    return tables.parquet_pieces(place, *NEEDED)


def describe(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> Iterator[SourceRow | RejectedRow]:
    images = tables.image_bytes(row["source_img"]), tables.image_bytes(row["target_img"])
    family, turn = string(row.get("img_id")) or locator, known(turn=number(row.get("turn_index")))
    edit = Edit(locator, *images, row["instruction"], family, LICENCE, AUTHOR, attributes=turn)
    return edit_rows(place, edit)


def rows(piece: InputSplit) -> Rows:
    columns = ("img_id", "turn_index", "source_img", "instruction", "target_img")
    numbered = tables.parquet_rows(piece.file, piece.part or 0, columns, binary=("source_img", "target_img"))
    return results(piece, numbered, describe)


CONNECTOR = Connector(
    name="magicbrush",
    version="2",
    description="MagicBrush: photographs edited by people, in one step or several",
    homepage="https://github.com/OSU-NLP-Group/MagicBrush",
    licence=LICENCE,
    terms="CC-BY-4.0; the photographs are MS COCO's.",
    size="10,388 edits",
    tasks=("image_editing", "exemplar_learning", "reasoning", "multi_turn"),
    pieces=pieces,
    results=rows,
)
