"""MIMIC-IT: instructions and answers about pictures, each with the instructions that may stand before it as examples.

As published: NAME_instructions.json ({meta, data: {id: {instruction, answer, image_ids, rel_ins_ids}}}) and NAME.json or
NAME_images.json ({id: base64}), or NAME.parquet (index or column id, column base64). Image rows have no caption; one text
row an instruction: [instruction, answer]. Attributes: kind 'related', family (its first picture), ref, media, related; subset.
Ids that lead nowhere: without one of its pictures an instruction is rejected; a related one that is not there is rejected by
itself. Of a clip's frames five are kept, evenly.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from codi2_datasets.clients import SourceUnavailable
from codi2_datasets.connectors.base import Connector, ConnectorError, Piece, Place, Rows
from codi2_datasets.connectors.reading import tables
from codi2_datasets.connectors.reading.files import (
    DAMAGE,
    damage,
    find,
    folder_identity,
    identity,
    kept,
    opened,
    short,
    stem,
)
from codi2_datasets.connectors.reading.json_items import json_items
from codi2_datasets.connectors.reading.media import medium
from codi2_datasets.connectors.reading.values import Bad, known, lines
from codi2_datasets.connectors.reading.words import shown, words
from codi2_datasets.corpora.base import RejectedRow

LICENCE, AUTHOR = "LicenseRef-MIMIC-IT", "S-Lab, Nanyang Technological University"
FRAMES = 5  # pictures of an instruction at most
PATTERNS = ("*.json", "*.json.gz", "*.parquet")
TRAIN = re.compile(r"_train\.json(\.gz)?$")  # which examples go with which instruction: said by rel_ins_ids too
INSTRUCTIONS = re.compile(r"_instructions\.json(\.gz)?$")
FRAME = re.compile(r"^([A-Z0-9]+_IMG_.+)_\d+$")


def image_files(place: Place) -> list[str]:
    """JSON and Parquet of pictures, under `media` or beside the instructions."""
    found = find(place.media or place.path, PATTERNS)
    return [file for file in found if not INSTRUCTIONS.search(file) and not TRAIN.search(file)]


def pieces(place: Place) -> Iterator[Piece]:
    asked = [file for file in find(place.path, PATTERNS) if INSTRUCTIONS.search(file)]
    if not asked:
        raise SourceUnavailable(place.path, "no ..._instructions.json there", "name the folder of MIMIC-IT's files")
    for file in image_files(place):
        name = identity(file)
        groups = range(groups_of(file)) if file.endswith(".parquet") else (None,)
        yield from (Piece(place, file, name, part=group, kind="images") for group in groups)
    beside = folder_identity(place.media or place.path, PATTERNS)
    for file in asked:
        number = sum(1 for _ in json_items(file, "data", skip=True))
        if not number:
            raise ConnectorError(f"{file}: no 'data' in it")
        parts = range(-(-number // tables.SLICE))
        yield from (Piece(place, file, beside, part=n, kind="instructions") for n in parts)


def groups_of(parquet: str) -> int:
    try:
        with opened(parquet, seekable=True) as handle:
            found = pq.ParquetFile(handle)
            if "base64" not in found.schema_arrow.names:
                raise ConnectorError(
                    f"{parquet}: the column 'base64' is missing; it has: {', '.join(found.schema_arrow.names)}"
                )
            return int(found.num_row_groups)
    except ConnectorError:
        raise
    except DAMAGE as error:
        damage(error)
        return 1


def rows(piece: Piece) -> Rows:
    yield from image_rows(piece) if piece.kind == "images" else instruction_rows(piece)


# --- pictures ----------------------------------------------------------------------------------------------------


def encoded(piece: Piece) -> Iterator[tuple[str, Any]]:
    """(id, base64) of a file's pictures, or (place, Bad)."""
    if piece.file.endswith(".parquet"):
        for n, row in tables.parquet_rows(piece.file, piece.part or 0):
            if isinstance(row, Bad):
                yield str(n), row
            else:
                yield str(row.get("__index_level_0__") or row.get("id") or row.get("index") or n), row["base64"]
        return
    for name, value in json_items(piece.file):
        yield str(name), value


def image_rows(piece: Piece) -> Rows:
    place = piece.place
    for name, value in encoded(piece):
        locator = f"{short(piece.file)}#{name}"
        if isinstance(value, Bad) or not isinstance(value, str):
            yield RejectedRow(place.corpus, locator, value.reason if isinstance(value, Bad) else "no base64")
            continue
        try:
            data = base64.b64decode(value.partition("base64,")[2] or value, validate=True)
        except (binascii.Error, ValueError):
            yield RejectedRow(place.corpus, locator, "broken base64")
            continue
        found = medium(data, locator, ("image",))
        if isinstance(found, Bad):
            yield RejectedRow(place.corpus, locator, found.reason)
        else:
            yield shown(place, locator, found, name, {"family": family(name)}, LICENCE, AUTHOR)


def family(image: str) -> str:
    """The frames of one clip are of one family; any other picture is of its own."""
    frame = FRAME.match(image)
    return frame[1] if frame else image


# --- instructions ------------------------------------------------------------------------------------------------


@kept(2)
def image_ids(files: tuple[str, ...]) -> frozenset[str]:
    found: set[str] = set()
    for file in files:
        if not file.endswith(".parquet"):
            found |= {str(name) for name, value in json_items(file, skip=True) if value is None}
            continue
        for group in range(groups_of(file)):
            for n, row in tables.parquet_rows(file, group, ("__index_level_0__", "id", "index")):
                if isinstance(row, dict):
                    found.add(str(row.get("__index_level_0__") or row.get("id") or row.get("index") or n))
    return frozenset(found)


@kept(4)
def instruction_ids(file: str) -> frozenset[str]:
    return frozenset(str(name) for name, value in json_items(file, "data", skip=True) if value is None)


def instruction_rows(piece: Piece) -> Rows:
    place = piece.place
    pictures, asked = image_ids(tuple(image_files(place))), instruction_ids(piece.file)
    for _, (name, entry) in tables.sliced(piece, enumerate(json_items(piece.file, "data"))):  # type: ignore[arg-type,misc]
        locator = f"{short(piece.file)}#{name}"
        reason = entry.reason if isinstance(entry, Bad) else unusable(entry, pictures)
        if reason or not isinstance(entry, dict):
            yield RejectedRow(place.corpus, locator, reason or "no JSON object")
            continue
        images, related = listed(entry, "image_ids"), listed(entry, "rel_ins_ids")
        images = (
            [images[round(n * (len(images) - 1) / (FRAMES - 1))] for n in range(FRAMES)]
            if len(images) > FRAMES
            else images
        )
        for lost in (other for other in dict.fromkeys(related) if other not in asked):
            yield RejectedRow(place.corpus, f"{locator}/{lost}", "a related instruction that is not there")
        attributes = known(kind="related", family=family(images[0]) if images else str(name), ref=str(name),
                           related=[other for other in dict.fromkeys(related) if other in asked and other != name],
                           subset=stem(piece.file).removesuffix("_instructions"))  # fmt: skip
        yield words(
            place, locator, [lines(entry["instruction"]), lines(entry["answer"])], attributes, LICENCE, AUTHOR, images
        )


def listed(entry: dict[str, Any], field: str) -> list[str]:
    value = entry.get(field)
    return [str(item) for item in value if isinstance(item, str | int)] if isinstance(value, list) else []


def unusable(entry: Any, pictures: frozenset[str]) -> str:
    if not isinstance(entry, dict):
        return "no JSON object"
    if not lines(entry.get("instruction")):
        return "no instruction"
    if not lines(entry.get("answer")):
        return "no answer"
    return "a picture that is not there" if any(image not in pictures for image in listed(entry, "image_ids")) else ""


CONNECTOR = Connector(
    name="mimic-it",
    version="1",
    description="MIMIC-IT: instructions about pictures with others as examples",
    homepage="https://github.com/Luodian/Otter",
    licence=LICENCE,
    terms="For scientific use alone, under an agreement with S-Lab; the pictures are under the terms of the sets they are from.",
    size="2.8 million instructions",
    tasks=("visual_question_answering", "reasoning", "exemplar_learning"),
    pieces=pieces,
    rows=rows,
)
