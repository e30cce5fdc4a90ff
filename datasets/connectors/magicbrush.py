"""MagicBrush: photographs edited by people, step by step. Parquet (img_id, turn_index, source_img, mask_img, instruction,
target_img).

Two image rows and one text row a turn. Attributes: kind 'photo', 'edit'; family (the photograph), turn, ref, media.
"""

from __future__ import annotations

from collections.abc import Iterator

from codi2_datasets.connectors.base import Connector, Piece, Place, Rows
from codi2_datasets.connectors.reading import tables
from codi2_datasets.connectors.reading.edits import Edit, edit_rows
from codi2_datasets.connectors.reading.files import short
from codi2_datasets.connectors.reading.values import Bad, known, number
from codi2_datasets.corpora.base import RejectedRow

LICENCE, AUTHOR = "CC-BY-4.0", "OSU NLP Group"
NEEDED = (("source_img",), ("instruction",), ("target_img",))


def pieces(place: Place) -> Iterator[Piece]:
    return tables.parquet_pieces(place, *NEEDED)


def rows(piece: Piece) -> Rows:
    place = piece.place
    columns = ("img_id", "turn_index", "source_img", "instruction", "target_img")
    for n, row in tables.parquet_rows(piece.file, piece.part or 0, columns):
        locator = f"{short(piece.file)}#{n}"
        if isinstance(row, Bad):
            yield RejectedRow(place.corpus, locator, row.reason)
            continue
        images = tables.image_bytes(row["source_img"]), tables.image_bytes(row["target_img"])
        family, turn = str(row.get("img_id") or locator), known(turn=number(row.get("turn_index")))
        yield from edit_rows(
            place, Edit(locator, *images, row["instruction"], family, LICENCE, AUTHOR, attributes=turn)
        )


CONNECTOR = Connector(
    name="magicbrush",
    version="1",
    description="MagicBrush: photographs edited by people, in one step or several",
    homepage="https://github.com/OSU-NLP-Group/MagicBrush",
    licence=LICENCE,
    terms="CC-BY-4.0; the photographs are MS COCO's.",
    size="10,388 edits",
    tasks=("image_editing", "exemplar_learning", "reasoning", "multi_turn"),
    pieces=pieces,
    rows=rows,
)
