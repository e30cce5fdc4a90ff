"""AudioSet: ten seconds of two million videos, with the sounds heard in them. CSV of segments, ontology.json of names.

Sounds come from a folder or from tars, named after the video with or without its times; clips with sound (.mp4, .webm) give
picture and clip as well. One audio row a segment; the caption says the sounds by their names, those that are only more
general than another left out. Attributes: concept and family (the first sound), labels, kind 'sound', video, start; pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.connectors.base import Connector, ConnectorError, Piece, Place
from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed
from codi2_datasets.readers.delimited import delimited_rows
from codi2_datasets.readers.files import find, kept
from codi2_datasets.readers.json_items import json_items
from codi2_datasets.readers.media import Medium
from codi2_datasets.readers.sounds import heard, youtube_names
from codi2_datasets.readers.values import Bad, Numbered, known, number, text

LICENCE = "LicenseRef-AudioSet"
COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
MOST = 3  # sounds that a caption names


def read(file: str) -> Numbered:
    return delimited_rows(file, header=COLUMNS, comment="#", spaced=True)


@kept(2)
def ontology(path: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Of each sound's id its name and the ids directly below it. Raises ConnectorError where the file does not say."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    file = find(path, ("ontology.json",))[0]
    for _, entry in json_items(file):
        if isinstance(entry, dict) and text(entry.get("id")) and text(entry.get("name")):
            children = entry.get("child_ids")
            below = tuple(map(str, children)) if isinstance(children, list) else ()
            found[entry["id"]] = (text(entry["name"]), below)
    if not found:
        raise ConnectorError(f"{file}: no sounds with 'id' and 'name' in it")
    return found


def ontology_path(place: Place) -> str:
    """The option, else the folders of the lists."""
    if given := str(place.options.get("ontology") or ""):
        return given
    return ";".join(sorted({file.rpartition("/")[0] or "." for file in LISTING.files(place)}))


def names(row: Mapping[str, Any]) -> Sequence[str]:
    return youtube_names(row["YTID"], number(row["start_seconds"]), number(row["end_seconds"]))


def describe(place: Place, locator: str, row: Mapping[str, Any], found: Medium) -> Sequence[SourceRow] | Bad:
    tree = ontology(ontology_path(place))
    ids = [name.strip() for name in row["positive_labels"].split(",") if name.strip()]
    if not tree.keys() >= set(ids):
        return Bad("a label that the ontology does not have")
    if not ids:
        return Bad("no labels")
    general = {name for name in ids if below(tree, name) & (set(ids) - {name})}
    labels = [tree[name][0] for name in dict.fromkeys(ids) if name not in general] or [tree[ids[0]][0]]
    attributes = known(concept=labels[0].lower(), family=labels[0].lower(), labels=labels,
                       video=row["YTID"], start=number(row["start_seconds"]))  # fmt: skip
    return heard(place, locator, found, " and ".join(label.lower() for label in labels[:MOST]), attributes, LICENCE)


def below(tree: Mapping[str, tuple[str, tuple[str, ...]]], name: str) -> set[str]:
    """Every id under one, however deep."""
    found: set[str] = set()
    todo = list(tree[name][1])
    while todo:
        if (one := todo.pop()) not in found and one in tree:
            found.add(one)
            todo += tree[one][1]
    return found


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, "*segments*.csv", "*segments*.csv.gz", "*segments*.csv.zst"),
    read=read,
    names=names,
    describe=describe,
    modalities=("audio", "video"),
    beside=lambda place: find(ontology_path(place), ("ontology.json",)),
)


def pieces(place: Place) -> Iterator[Piece]:
    ontology(ontology_path(place))  # missing, it is missed now
    yield from listed.pieces(place, LISTING)


CONNECTOR = Connector(
    name="audioset",
    version="2",
    description="AudioSet: ten seconds of sound each, with the names of what is heard",
    homepage="https://research.google.com/audioset",
    licence=LICENCE,
    terms="Labels are CC-BY-4.0, the ontology CC-BY-SA-4.0; sounds and pictures are those of the videos' owners.",
    size="2.1 million segments",
    tasks=(
        "text_to_audio",
        "audio_captioning",
        "audio_editing",
        "image_to_audio",
        "audio_to_image",
        "joint_image_audio",
        "text_to_video",
        "video_captioning",
    ),
    pieces=pieces,
    results=partial(listed.rows, how=LISTING),
    options={"ontology": ""},
)
