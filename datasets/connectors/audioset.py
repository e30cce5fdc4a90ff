"""AudioSet: ten-second segments of two million videos with labels of their sounds.

CSV of segments, ontology.json of names.

Audio comes from a folder or from tars, named after the video with or without its times; videos with sound (.mp4, .webm)
also give an image and a video. One audio row per segment. The caption lists the labels, except those that are ancestors
of another one. Attributes: concept and family (the first label), labels, kind 'sound', video, start; pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed
from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation, InputSplit
from codi2_datasets.readers.delimited import delimited_rows
from codi2_datasets.readers.files import find, kept
from codi2_datasets.readers.json_items import json_items
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.sounds import heard, youtube_names
from codi2_datasets.readers.values import Bad, Numbered, known, number, text

LICENCE = "LicenseRef-AudioSet"
COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
MOST = 3  # labels in a caption


def read(file: str) -> Numbered:
    return delimited_rows(file, header=COLUMNS, comment="#", spaced=True)


@kept(2)
def ontology(path: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By id of each sound, its name and the ids of its children. Raises ConnectorError if the file has none."""
    tree: dict[str, tuple[str, tuple[str, ...]]] = {}
    file = find(path, ("ontology.json",))[0]
    for _, entry in json_items(file):
        if isinstance(entry, dict) and text(entry.get("id")) and text(entry.get("name")):
            children = entry.get("child_ids")
            below = tuple(map(str, children)) if isinstance(children, list) else ()
            tree[entry["id"]] = (text(entry["name"]), below)
    if not tree:
        raise ConnectorError(f"{file}: no sounds with 'id' and 'name' in it")
    return tree


def ontology_path(place: CorpusLocation) -> str:
    """The option `ontology`, otherwise the folders of the lists."""
    if option := str(place.options.get("ontology") or ""):
        return option
    return ";".join(sorted({file.rpartition("/")[0] or "." for file in LISTING.files(place)}))


def names(row: Mapping[str, Any]) -> Sequence[str]:
    return youtube_names(row["YTID"], number(row["start_seconds"]), number(row["end_seconds"]))


def describe(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], audio: RawMedium
) -> Sequence[SourceRow] | Bad:
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
    return heard(place, locator, audio, " and ".join(label.lower() for label in labels[:MOST]), attributes, LICENCE)


def below(tree: Mapping[str, tuple[str, tuple[str, ...]]], name: str) -> set[str]:
    """All descendants of an id."""
    descendants: set[str] = set()
    todo = list(tree[name][1])
    while todo:
        if (one := todo.pop()) not in descendants and one in tree:
            descendants.add(one)
            todo += tree[one][1]
    return descendants


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, "*segments*.csv", "*segments*.csv.gz", "*segments*.csv.zst"),
    read=read,
    names=names,
    describe=describe,
    modalities=("audio", "video"),
    beside=lambda place: find(ontology_path(place), ("ontology.json",)),
)


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    ontology(ontology_path(place))  # raises now if the ontology is missing
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
