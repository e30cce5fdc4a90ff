"""COCO captions: photographs with five captions each, and object masks. JSON as published.

captions_*.json, and beside it instances_*.json for the objects; photographs in folders under `media`. One image row per
photograph, with its first caption. Attributes: kind 'photo', family (the photograph), more (the other captions),
entities ([{name, mask}], for composition), concept (if all objects have the same name), url.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed, tables
from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.entities import annotated, entities
from codi2_datasets.readers.files import exists, find, folder_identity, identity, kept
from codi2_datasets.readers.json_items import json_items
from codi2_datasets.readers.results import only_objects, results
from codi2_datasets.readers.shelf import endings_of, shelved
from codi2_datasets.readers.values import (
    Bad,
    Numbered,
    known,
    licence_of,
    number,
    pick,
    string,
    text,
    web_address,
    whole,
)

SLICE = 5_000  # photographs per piece: their annotations are held in memory together
LICENCE = "LicenseRef-COCO"
LICENCES = {"No known copyright restrictions": "CC-PDM-1.0", "United States Government Work": "CC-PDM-1.0"}


def instances_of(captions: str) -> str | None:
    """The file of instances beside a file of captions."""
    folder, slash, name = captions.rpartition("/")
    beside = f"{folder}{slash}{name.replace('captions_', 'instances_', 1)}"
    return beside if beside != captions and exists(beside) else None


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    shelf = folder_identity(listed.media_of(place), endings_of(("image",)))
    for file in find(place.path, ("captions_*.json", "captions_*.json.gz")):
        first: Any = next((entry for _, entry in json_items(file, "annotations")), None)
        if next(images_of(file), None) is None or not isinstance(first, dict) or "caption" not in first:
            raise ConnectorError(f"{file}: no 'images' or no 'annotations' with 'caption' in it")
        outlines = instances_of(file)
        name = ".".join([identity(file), identity(outlines) if outlines else "", shelf])
        yield from (replace(piece, identity=name) for piece in tables.slices(place, [file], images_of, size=SLICE))


def images_of(file: str) -> Numbered:
    return only_objects(enumerate(entry for _, entry in json_items(file, "images")))


@kept(4)
def names_of(file: str, key: str, field: str) -> dict[int, str]:
    """By number of each licence or category, the value of the field."""
    values = {}
    for _, entry in json_items(file, key):
        if isinstance(entry, dict) and (n := number(entry.get("id"))) is not None:
            values[int(n)] = text(entry.get(field))
    return values


def joined(file: str, ids: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The annotations of these photographs, by image id."""
    by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, entry in json_items(file, "annotations"):
        if isinstance(entry, dict) and (name := string(entry.get("image_id"))) in ids:
            by_image[name].append(entry)
    return by_image


@dataclass
class Photographs:
    """Annotations of a piece's photographs from other parts of the files; `seen`: photographs that already had a row."""

    captions: dict[str, list[dict[str, Any]]]
    things: dict[str, list[dict[str, Any]]]
    licences: dict[int, str]
    categories: dict[int, str]
    seen: set[str] = field(default_factory=set)

    def describe(self, place: CorpusLocation, locator: str, entry: Mapping[str, Any]) -> SourceRow | Bad:
        name = string(entry.get("id"))
        if not name:
            return Bad("no id")
        captions = list(dict.fromkeys(text(item.get("caption")) for item in self.captions.get(name, ())))
        captions = [words for words in captions if words]
        image = shelved(listed.media_of(place), [string(entry.get("file_name"))], ("image",))
        if isinstance(image, Bad):
            return image
        if not captions:
            return Bad("no caption")
        if name in self.seen:
            return Bad("the same photograph again")
        self.seen.add(name)
        drawn = outlined(entry, self.things.get(name, ()), self.categories)
        concept = drawn[0]["name"] if len({item["name"] for item in drawn}) == 1 else None
        attributes = known(kind="photo", family=name, more=captions[1:], entities=drawn, concept=concept,
                           url=web_address(pick(entry, "flickr_url", "coco_url")))  # fmt: skip
        licence = self.licences.get(whole(entry.get("license")) or -1, LICENCE)
        return SourceRow(place.corpus, locator, "image", image.data, image.media_type, licence,
                         "a user of Flickr", captions[0], attributes)  # fmt: skip


def rows(piece: InputSplit) -> Rows:
    taken = list(tables.sliced(piece, images_of(piece.file), SLICE))
    ids = {name for _, entry in taken if isinstance(entry, dict) and (name := string(entry.get("id")))}
    outlines = instances_of(piece.file)
    licences = {n: licence_of(url, LICENCES.get(names_of(piece.file, "licenses", "name").get(n, ""), LICENCE))
                for n, url in names_of(piece.file, "licenses", "url").items()}  # fmt: skip
    photographs = Photographs(
        joined(piece.file, ids),
        joined(outlines, ids) if outlines else {},
        licences,
        names_of(outlines, "categories", "name") if outlines else {},
    )
    yield from results(piece, taken, photographs.describe)


def outlined(image: Mapping[str, Any], annotations: Any, categories: dict[int, str]) -> list[dict[str, str]]:
    width, height = int(number(image.get("width")) or 0), int(number(image.get("height")) or 0)
    named = ((categories.get(int(number(item.get("category_id")) or -1), ""), item) for item in annotations)
    masks = ((name, annotated(item, width, height)) for name, item in named)
    return entities((name, mask) for name, mask in masks if mask is not None)


CONNECTOR = Connector(
    name="coco",
    version="2",
    description="COCO: photographs with captions and the outlines of the things in them",
    homepage="https://cocodataset.org",
    licence=LICENCE,
    terms="Annotations are CC-BY-4.0; each photograph is under the licence of Flickr that the file names.",
    size="123,287 photographs, 616 thousand captions",
    tasks=("text_to_image", "image_captioning", "composition", "text_to_media"),
    pieces=pieces,
    results=rows,
)
