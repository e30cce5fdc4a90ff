"""COCO captions: photographs with five captions each, and the things in them with their outlines. JSON as published.

captions_*.json, and beside it instances_*.json where the things are wanted; photographs in folders under `media`.
One image row a photograph, with its first caption. Attributes: kind 'photo', family (the photograph), more (the other
captions), entities ([{name, mask}], for composition), concept (where one thing alone is in it), url.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from codi2_datasets.clients import SourceUnavailable
from codi2_datasets.connectors.base import Connector, ConnectorError, Piece, Place, Rows
from codi2_datasets.connectors.reading import listed, tables
from codi2_datasets.connectors.reading.entities import annotated, entities
from codi2_datasets.connectors.reading.files import find, folder_identity, identity, kept, short, stem
from codi2_datasets.connectors.reading.json_items import json_items
from codi2_datasets.connectors.reading.media import endings_of, shelved
from codi2_datasets.connectors.reading.values import Bad, known, licence_of, number, pick, text, web_address
from codi2_datasets.corpora.base import RejectedRow, SourceRow

SLICE = 5_000  # photographs of a piece: their annotations are held at once
LICENCE = "LicenseRef-COCO"
LICENCES = {"No known copyright restrictions": "CC-PDM-1.0", "United States Government Work": "CC-PDM-1.0"}


def instances_of(captions: str) -> str | None:
    """The file of outlines beside one of captions."""
    try:
        return find(captions.replace("captions_", "instances_"), ("*",))[0] if "captions_" in captions else None
    except SourceUnavailable:
        return None


def pieces(place: Place) -> Iterator[Piece]:
    shelf = folder_identity(listed.media_of(place), endings_of(("image",)))
    for file in find(place.path, ("captions_*.json", "captions_*.json.gz")):
        images = sum(1 for _ in json_items(file, "images", skip=True))
        first: Any = next((entry for _, entry in json_items(file, "annotations")), None)
        if not images or not isinstance(first, dict) or "caption" not in first:
            raise ConnectorError(f"{file}: no 'images' or no 'annotations' with 'caption' in it")
        outlines = instances_of(file)
        name = ".".join([identity(file), identity(outlines) if outlines else "", shelf])
        yield from (Piece(place, file, name, part=n) for n in range(-(-images // SLICE)))


@kept(4)
def names_of(file: str, key: str, field: str) -> dict[int, str]:
    """Of each licence or category its number and the field."""
    found = {}
    for _, entry in json_items(file, key):
        if isinstance(entry, dict) and (n := number(entry.get("id"))) is not None:
            found[int(n)] = text(entry.get(field))
    return found


def joined(file: str, ids: set[Any]) -> dict[Any, list[dict[str, Any]]]:
    """The annotations of these photographs."""
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for _, entry in json_items(file, "annotations"):
        if isinstance(entry, dict) and isinstance(entry.get("image_id"), int | str) and entry["image_id"] in ids:
            found[entry["image_id"]].append(entry)
    return found


def rows(piece: Piece) -> Rows:
    place, file = piece.place, short(piece.file)
    taken = list(tables.sliced(piece, enumerate(entry for _, entry in json_items(piece.file, "images")), SLICE))
    ids = {entry["id"] for _, entry in taken if isinstance(entry, dict) and isinstance(entry.get("id"), int | str)}
    captions, outlines = joined(piece.file, ids), instances_of(piece.file)
    things = joined(outlines, ids) if outlines else {}
    licences = {n: licence_of(url, LICENCES.get(names_of(piece.file, "licenses", "name").get(n, ""), LICENCE))
                for n, url in names_of(piece.file, "licenses", "url").items()}  # fmt: skip
    categories = names_of(outlines, "categories", "name") if outlines else {}
    seen: set[Any] = set()
    for n, entry in taken:
        locator = f"{file}#{n}"
        if not isinstance(entry, dict) or entry.get("id") not in ids:
            yield RejectedRow(place.corpus, locator, entry.reason if isinstance(entry, Bad) else "no id")
            continue
        said = list(
            dict.fromkeys(words for item in captions.get(entry["id"], ()) if (words := text(item.get("caption"))))
        )
        found = shelved(listed.media_of(place), [stem(str(entry.get("file_name") or ""))], ("image",))
        reason = found.reason if isinstance(found, Bad) else "" if said else "no caption"
        if reason or isinstance(found, Bad) or entry["id"] in seen:
            yield RejectedRow(place.corpus, locator, reason or "the same photograph again")
            continue
        seen.add(entry["id"])
        drawn = outlined(entry, things.get(entry["id"], ()), categories)
        concept = drawn[0]["name"] if len({item["name"] for item in drawn}) == 1 else None
        attributes = known(kind="photo", family=str(entry["id"]), more=said[1:], entities=drawn, concept=concept,
                           url=web_address(pick(entry, "flickr_url", "coco_url")))  # fmt: skip
        licence = licences.get(int(number(entry.get("license")) or -1), LICENCE)
        yield SourceRow(place.corpus, locator, "image", found.data, found.media_type, licence,
                        "a user of Flickr", said[0], attributes)  # fmt: skip


def outlined(image: dict[str, Any], annotations: Any, categories: dict[int, str]) -> list[dict[str, str]]:
    width, height = int(number(image.get("width")) or 0), int(number(image.get("height")) or 0)
    named = ((categories.get(int(number(item.get("category_id")) or -1), ""), item) for item in annotations)
    masks = ((name, annotated(item, width, height)) for name, item in named)
    return entities((name, mask) for name, mask in masks if mask is not None)


CONNECTOR = Connector(
    name="coco",
    version="1",
    description="COCO: photographs with captions and the outlines of the things in them",
    homepage="https://cocodataset.org",
    licence=LICENCE,
    terms="Annotations are CC-BY-4.0; each photograph is under the licence of Flickr that the file names.",
    size="123,287 photographs, 616 thousand captions",
    tasks=("text_to_image", "image_captioning", "composition", "text_to_media"),
    pieces=pieces,
    rows=rows,
)
