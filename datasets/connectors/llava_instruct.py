"""LLaVA-Instruct: conversations about photographs of COCO, written by a language model. JSON list or lines.

{id, image, conversations: [{from: human|gpt, value}]}, '<image>' where the picture stands; photographs under `media`.
One image row a photograph, one text row a conversation: its turns. Attributes: kind 'conversation' ('dialogue' without a
picture), family (the photograph), ref, media.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codi2_datasets.connectors.base import Connector, Piece, Place, Rows
from codi2_datasets.connectors.reading import tables
from codi2_datasets.connectors.reading.files import find, folder_identity, short
from codi2_datasets.connectors.reading.json_items import json_items
from codi2_datasets.connectors.reading.media import endings_of, shelved
from codi2_datasets.connectors.reading.values import Bad, known, lines
from codi2_datasets.connectors.reading.words import shown, words
from codi2_datasets.corpora.base import RejectedRow

LICENCE, AUTHOR = "CC-BY-NC-4.0", "LLaVA team"
IMAGES = "LicenseRef-COCO"
ROLES = {"human": 0, "user": 0, "gpt": 1, "assistant": 1}


def read(file: str) -> tables.Numbered:
    if file.removesuffix(".gz").removesuffix(".zst").endswith(".jsonl"):
        yield from tables.json_lines(file)
        return
    for n, (_, entry) in enumerate(json_items(file)):
        yield n, entry if isinstance(entry, dict | Bad) else Bad("no JSON object")


def pieces(place: Place) -> Iterator[Piece]:
    shelf = folder_identity(place.media or place.path, endings_of(("image",)))
    files = find(place.path, ("*.json", "*.jsonl", "*.json.gz", "*.jsonl.gz"))
    for piece in tables.slices(place, files, lambda file: sum(1 for _ in read(file))):
        yield Piece(place, piece.file, f"{piece.identity}.{shelf}", piece.part)


def turns_of(entry: dict[str, Any]) -> list[str] | Bad:
    """What is said in turn, the person first, without the mark for the picture."""
    said = entry.get("conversations")
    if not isinstance(said, list) or not all(isinstance(turn, dict) for turn in said):
        return Bad("no conversation")
    found = []
    for n, turn in enumerate(said):
        if ROLES.get(str(turn.get("from"))) != n % 2:
            return Bad("the speakers do not take turns")
        value = turn.get("value")
        if not (words_ := lines(value.replace("<image>", "") if isinstance(value, str) else None)):
            return Bad("an empty turn")
        found.append(words_)
    return found if len(found) >= 2 and len(found) % 2 == 0 else Bad("no answer")


def rows(piece: Piece) -> Rows:
    place, shown_before = piece.place, set()
    for n, entry in tables.sliced(piece, read(piece.file)):
        locator = f"{short(piece.file)}#{n}"
        turns = entry if isinstance(entry, Bad) else turns_of(entry)
        if isinstance(turns, Bad) or isinstance(entry, Bad):
            yield RejectedRow(place.corpus, locator, turns.reason if isinstance(turns, Bad) else "")
            continue
        name = entry.get("image")
        if not isinstance(name, str):
            yield words(place, locator, turns, known(kind="dialogue", family=locator), LICENCE, AUTHOR)
            continue
        found = shelved(place.media or place.path, [name.rpartition(".")[0] or name], ("image",))
        if isinstance(found, Bad):
            yield RejectedRow(place.corpus, locator, found.reason)
            continue
        if name not in shown_before:
            shown_before.add(name)
            yield shown(place, f"{locator}/{name}", found, name, {"family": name}, IMAGES, "a user of Flickr")
        yield words(place, locator, turns, {"kind": "conversation", "family": name}, LICENCE, AUTHOR, [name])


CONNECTOR = Connector(
    name="llava-instruct",
    version="1",
    description="LLaVA-Instruct: conversations about photographs, written by a language model",
    homepage="https://llava-vl.github.io",
    licence=LICENCE,
    terms="Texts are CC-BY-NC-4.0 and under OpenAI's terms of use; the photographs are COCO's, each under Flickr's licence.",
    size="158 thousand conversations",
    tasks=("visual_question_answering", "multi_turn", "text_instruction"),
    pieces=pieces,
    rows=rows,
)
