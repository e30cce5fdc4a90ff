"""MIMIC-IT: instructions and answers about images, each with the related instructions that may be its examples.

As published: NAME_instructions.json ({meta, data: {id: {instruction, answer, image_ids, rel_ins_ids}}}) and NAME.json
or NAME_images.json ({id: base64}), or NAME.parquet (index or column id, column base64). Image rows have no caption; one
text row per instruction: [instruction, answer]. Attributes: kind 'related', family (its first image), ref, media,
related; subset. An instruction with an unknown image id is rejected; an unknown related id is rejected by itself. Of a
video's frames five are kept, evenly spaced.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers import tables
from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.files import PACKED, find, folder_identity, identity, kept, stem
from codi2_datasets.readers.json_items import json_items
from codi2_datasets.readers.media import medium
from codi2_datasets.readers.results import results
from codi2_datasets.readers.texts import is_parquet
from codi2_datasets.readers.values import Bad, Numbered, known, lines, pick, string
from codi2_datasets.readers.words import shown, words
from codi2_datasets.sources.registries import SourceUnavailable

LICENCE, AUTHOR = "LicenseRef-MIMIC-IT", "S-Lab, Nanyang Technological University"
FRAMES = 5  # maximum number of images per instruction
PATTERNS = ("*.json", "*.json.gz", "*.parquet")
TRAIN = re.compile(r"_train\.json(\.gz)?$")  # the examples of each instruction, which rel_ins_ids gives too
INSTRUCTIONS = re.compile(r"_instructions\.json(\.gz)?$")
FRAME = re.compile(r"^([A-Z0-9]+_IMG_.+)_\d+$")


def image_files(place: CorpusLocation) -> list[str]:
    """JSON and Parquet files of images, under `media` or beside the instructions."""
    files = find(place.media or place.path, PATTERNS)
    return [file for file in files if not INSTRUCTIONS.search(file) and not TRAIN.search(file)]


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    asked = [file for file in find(place.path, PATTERNS) if INSTRUCTIONS.search(file)]
    if not asked:
        raise SourceUnavailable(place.path, "no ..._instructions.json there", "name the folder of MIMIC-IT's files")
    for file in image_files(place):
        if is_parquet(file):
            parts = tables.pieces_of_parquet(place, [file], ("base64",))
            yield from (replace(piece, kind="images") for piece in parts)
        else:
            yield InputSplit(place, file, identity(file), kind="images")
    beside = folder_identity(place.media or place.path, PATTERNS)
    for file in asked:
        if not instruction_ids(file):
            raise ConnectorError(f"{file}: no 'data' in it")
        for piece in tables.slices(place, [file], entries, kind="instructions"):
            yield replace(piece, identity=beside)


def rows(piece: InputSplit) -> Rows:
    if piece.kind == "images":
        yield from results(piece, encoded(piece), image)
        return
    known_ids = image_ids(tuple(image_files(piece.place))), instruction_ids(piece.file)
    subset = stem(PACKED.sub("", piece.file)).removesuffix("_instructions")
    numbered = (row for _, row in tables.sliced(piece, entries(piece.file)))
    yield from results(piece, ((row["id"], row) if isinstance(row, dict) else (-1, row) for row in numbered),
                       partial(instruction, known_ids=known_ids, subset=subset))  # fmt: skip


# --- images ------------------------------------------------------------------------------------------------------


def id_of(row: Mapping[str, Any], number: int) -> str:
    return string(pick(row, "__index_level_0__", "id", "index")) or str(number)


def encoded(piece: InputSplit) -> Iterator[tuple[str, Any]]:
    """(id, {id, base64}) of a file's images, or (id, Bad)."""
    if is_parquet(piece.file):
        for n, row in tables.parquet_rows(piece.file, piece.part or 0):
            if isinstance(row, dict):
                yield (name := id_of(row, n)), {"id": name, "base64": row["base64"]}
            else:
                yield str(n), row
        return
    for key, value in json_items(piece.file):
        name = str(key)
        yield name, value if isinstance(value, Bad) else {"id": name, "base64": value}


def image(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> SourceRow | Bad:
    value = row["base64"]
    if not isinstance(value, str):
        return Bad("no base64")
    try:
        data = base64.b64decode(value.partition("base64,")[2] or value, validate=True)
    except (binascii.Error, ValueError):
        return Bad("broken base64")
    decoded = medium(data, locator, ("image",))
    if isinstance(decoded, Bad):
        return decoded
    return shown(place, locator, decoded, row["id"], {"family": family(row["id"])}, LICENCE, AUTHOR)


def family(image: str) -> str:
    """All frames of one video are one family; any other image is its own."""
    frame = FRAME.match(image)
    return frame[1] if frame else image


# --- instructions ------------------------------------------------------------------------------------------------


@kept(2)
def image_ids(files: tuple[str, ...]) -> frozenset[str]:
    ids: set[str] = set()
    for file in files:
        if is_parquet(file):
            rows = tables.file_rows(file, ("__index_level_0__", "id", "index"))
            ids |= {id_of(row, n) for n, row in rows if isinstance(row, dict)}
        else:
            ids |= {str(name) for name, value in json_items(file) if not isinstance(value, Bad)}
    return frozenset(ids)


@kept(4)
def instruction_ids(file: str) -> frozenset[str]:
    return frozenset(row["id"] for _, row in entries(file) if isinstance(row, dict))


def entries(file: str) -> Numbered:
    """The instructions of a file, each with its id."""
    for n, (name, entry) in enumerate(json_items(file, "data")):
        if isinstance(entry, Bad) and name == -1:
            yield n, entry
        else:
            yield n, {"id": str(name), "entry": entry}


def instruction(
    place: CorpusLocation,
    locator: str,
    row: Mapping[str, Any],
    known_ids: tuple[frozenset[str], frozenset[str]],
    subset: str,
) -> list[SourceRow | RejectedRow] | Bad:
    """The text row of an instruction, and a reject for each unknown related id."""
    name, entry, (images_there, asked) = row["id"], row["entry"], known_ids
    if reason := unusable(entry, images_there):
        return Bad(reason)
    images, related = listed(entry, "image_ids"), dict.fromkeys(listed(entry, "rel_ins_ids"))
    if len(images) > FRAMES:
        images = [images[round(n * (len(images) - 1) / (FRAMES - 1))] for n in range(FRAMES)]
    lost = [other for other in related if other not in asked]
    attributes = known(kind="related", family=family(images[0]) if images else name, ref=name,
                       related=[other for other in related if other in asked and other != name], subset=subset)  # fmt: skip
    turns = [lines(entry["instruction"]), lines(entry["answer"])]
    return [
        *(RejectedRow(place.corpus, f"{locator}/{other}", "a related instruction that is not there") for other in lost),
        words(place, locator, turns, attributes, LICENCE, AUTHOR, images),
    ]


def listed(entry: dict[str, Any], field: str) -> list[str]:
    value = entry.get(field)
    return [string(item) for item in value] if isinstance(value, list) else []


def unusable(entry: Any, images: frozenset[str]) -> str:
    if isinstance(entry, Bad):
        return entry.reason
    if not isinstance(entry, dict):
        return "no JSON object"
    if not lines(entry.get("instruction")):
        return "no instruction"
    if not lines(entry.get("answer")):
        return "no answer"
    return "a picture that is not there" if any(image not in images for image in listed(entry, "image_ids")) else ""


CONNECTOR = Connector(
    name="mimic-it",
    version="2",
    description="MIMIC-IT: instructions about pictures with others as examples",
    homepage="https://github.com/Luodian/Otter",
    licence=LICENCE,
    terms="For scientific use alone, under an agreement with S-Lab; the pictures are under the terms of the sets they are from.",
    size="2.8 million instructions",
    tasks=("visual_question_answering", "reasoning", "exemplar_learning"),
    pieces=pieces,
    results=rows,
)
