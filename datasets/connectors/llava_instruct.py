"""LLaVA-Instruct: conversations about images, written by a language model. JSON list or lines.

{id, image, conversations: [{from: human|gpt, value}]}; media under `media`. An entry may have several images, videos or
audio files (`image`, `video`, `audio`: a name or a list of names), with a mark for each: '<image>', '<video>',
'<audio>'. An entry with unequal numbers of marks and media is rejected. One row per medium, one text row per
conversation: its turns. Attributes: kind 'conversation' (one image before or after the first question), 'interleaved'
(otherwise: U+FFFC in a turn stands for the next of the media) or 'dialogue' (no media); family (the first medium), ref,
media.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.files import find, folder_identity
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.llava import MARKS, in_place, media_of
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.results import results
from codi2_datasets.readers.shelf import endings_of, shelved
from codi2_datasets.readers.tables import sliced, slices
from codi2_datasets.readers.values import Bad, known, lines
from codi2_datasets.readers.words import MARK, shown, words

LICENCE, AUTHOR = "CC-BY-NC-4.0", "LLaVA team"
IMAGES = "LicenseRef-COCO"
ROLES = {"human": 0, "user": 0, "gpt": 1, "assistant": 1}
PATTERNS = ("*.json", "*.jsonl", "*.json.gz", "*.jsonl.gz", "*.json.zst", "*.jsonl.zst")


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    shelf = folder_identity(place.media or place.path, endings_of(tuple(MARKS)))
    for piece in slices(place, find(place.path, PATTERNS), json_rows):
        yield replace(piece, identity=f"{piece.identity}.{shelf}")


def turns_of(entry: Mapping[str, Any]) -> list[str] | Bad:
    """The turns of a conversation, starting with the person; Bad if they do not alternate."""
    listed_turns = entry.get("conversations")
    if not isinstance(listed_turns, list) or not all(isinstance(turn, dict) for turn in listed_turns):
        return Bad("no conversation")
    turns = []
    for n, turn in enumerate(listed_turns):
        if ROLES.get(str(turn.get("from"))) != n % 2:
            return Bad("the speakers do not take turns")
        value = turn.get("value")
        if not (words_ := lines(value.replace(MARK, " ") if isinstance(value, str) else None)):
            return Bad("an empty turn")
        turns.append(words_)
    return turns if len(turns) >= 2 and len(turns) % 2 == 0 else Bad("no answer")


@dataclass
class EntryReader:
    """Reads the entries of one piece; `seen`: media that already had rows."""

    seen: set[str] = field(default_factory=set)

    def describe(
        self, place: CorpusLocation, locator: str, entry: Mapping[str, Any]
    ) -> list[SourceRow | RejectedRow] | Bad:
        spoken, media = turns_of(entry), media_of(entry)
        if isinstance(spoken, Bad) or isinstance(media, Bad):
            return spoken if isinstance(spoken, Bad) else media  # type: ignore[return-value]
        pieces = in_place(spoken, media)
        if isinstance(pieces, Bad):
            return pieces
        order = [piece for turn in pieces for piece in turn if piece[0] != "text"]
        turns = ["".join(value if kind == "text" else MARK for kind, value in turn) for turn in pieces]
        rows: list[SourceRow | RejectedRow] = []
        for modality, name in dict.fromkeys(order):
            medium = shelved(place.media or place.path, [name], (modality,))
            if isinstance(medium, Bad):
                return medium
            rows += self.row_of(place, locator, name, medium)
        names = [name for _, name in order]
        self.seen |= set(names)
        return [*rows, conversation(place, locator, turns, names, [modality for modality, _ in order])]

    def row_of(self, place: CorpusLocation, locator: str, name: str, medium: RawMedium) -> list[SourceRow]:
        if name in self.seen:
            return []
        kind = {} if medium.modality == "image" else {"kind": {"video": "clip", "audio": "sound"}[medium.modality]}
        attributes = {"family": name, **kind}
        return [shown(place, f"{locator}/{name}", medium, name, attributes, IMAGES, "a user of Flickr")]


def conversation(
    place: CorpusLocation, locator: str, turns: list[str], names: list[str], modalities: list[str]
) -> SourceRow:
    if not names:
        return words(place, locator, turns, known(kind="dialogue", family=locator), LICENCE, AUTHOR)
    kind, plain = "interleaved", lines(turns[0].strip().strip(MARK))
    if modalities == ["image"] and plain and MARK not in plain and not any(MARK in turn for turn in turns[1:]):
        kind, turns = "conversation", [plain, *turns[1:]]
    return words(place, locator, turns, {"kind": kind, "family": names[0]}, LICENCE, AUTHOR, names)


def rows(piece: InputSplit) -> Rows:
    return results(piece, sliced(piece, json_rows(piece.file)), EntryReader().describe)


CONNECTOR = Connector(
    name="llava-instruct",
    version="2",
    description="LLaVA-Instruct: conversations about images, written by a language model",
    homepage="https://llava-vl.github.io",
    licence=LICENCE,
    terms="Texts are CC-BY-NC-4.0 and under OpenAI's terms of use; the photographs are COCO's, each under Flickr's licence.",
    size="158 thousand conversations",
    tasks=("visual_question_answering", "multi_turn", "text_instruction"),
    pieces=pieces,
    results=rows,
)
