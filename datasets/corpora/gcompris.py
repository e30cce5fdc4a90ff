"""GCompris, games for children: images and sounds of instruments and animals, and scenes with movable drawings.

Read from Qt resource files. Attributes: concept, family, kind 'sound', 'drawing', 'photo', 'scene' or 'cartoon' (the
movable drawings of scenes); pair, the same for the image and the sound of one thing. Each folder has a README with
authors and licences of its files. Sounds of the memory game are under the Free Art License, which is incompatible with
the others, and those of the drum kit under a licence that is no longer published: both are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.corpora.support.rcc import files

FOLDER = "usr/share/gcompris-qt/rcc"
INSIDE = "gcompris/src/activities"
TYPES = {"svg": "image/svg+xml", "webp": "image/webp", "png": "image/png", "ogg": "audio/ogg"}
LICENCES = {"CC0-1.0": "CC0-1.0", "Public Domain": "CC-PDM-1.0", "CC-BY-SA 4.0": "CC-BY-SA-4.0", "CC-BY-SA-4.0": "CC-BY-SA-4.0",
            "CC-BY-SA-3.0": "CC-BY-SA-3.0", "CC-BY-SA 3.0": "CC-BY-SA-3.0", "CC-BY-4.0": "CC-BY-4.0", "CC-BY-3.0": "CC-BY-3.0",
            "CC-BY 4.0": "CC-BY-4.0", "GPLv3": "GPL-3.0-or-later", "GPL-3.0-or-later": "GPL-3.0-or-later"}  # fmt: skip
INSTRUMENT_AUTHORS = "Sylvain Dechy, Jérome Blanchard, Julie Jules, Chloé Tuvuku"  # of the sounds, by the README
NAMES = {
    "chickens": "chicken",
    "flute_traversiere": "flute",
    "timpani": "timpani",
    "bongo": "bongos",
    "dragon": "komodo dragon",
}
# contents of the photo hunt's images, determined by looking at them
SCENES = {
    "photo1": "a penguin painting a grey forest green", "photo2": "a curly tree with owls on a meadow",
    "photo3": "a tree on green hills under the sun", "photo4": "a watermill by a river",
    "photo5": "a stone bridge and a house in the green", "photo6": "a forest of fir trees",
    "photo7": "trees in autumn", "photo8": "a meadow with a tree under the sun", "photo9": "mountains at night",
    "photo10": "a castle on a hill",
}  # fmt: skip
LOOSE = {
    "photo1_1": "sun", "photo1_2": "lemon", "photo2_1": "owl", "photo2_2": "red tulip", "photo2_3": "zebra",
    "photo4_2": "window", "photo4_4": "tree", "photo5_4": "bush", "photo6_3": "magpie", "photo7_1": "cloud",
    "photo8_1": "sunglasses", "photo8_2": "daisy", "photo8_3": "butterfly", "photo8_5": "apple", "photo8_6": "baseball",
    "photo10_3": "tower with a red roof",
}  # fmt: skip


@dataclass(frozen=True)
class GCompris:
    name: str = "gcompris"
    version: str = "1"
    source: str = "deb:gcompris-qt-data"
    companions: tuple[str, ...] = ()
    licence: str = "GPL-3.0-or-later"
    description: str = "Instruments and animals to see and to hear; scenes and things to put on them"
    tasks: tuple[str, ...] = ("image_to_audio", "audio_to_image", "joint_image_audio", "composition")
    size: str = "119 images and sounds, 45 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        for activity in (
            "explore_farm_animals",
            "explore_world_animals",
            "instruments",
            "memory-sound",
            "photo_hunter",
        ):
            packed = f"{FOLDER}/{activity}.rcc"
            content = dict(files((package / packed).read_bytes()))
            media = {p: data for p, data in content.items() if "/resource/" in p and p.rsplit(".", 1)[-1] in TYPES}
            for path, data in media.items():
                readme = content.get(f"{path.rsplit('/', 1)[0]}/README", b"").decode()
                yield self.row(activity, path, data, readme, f"{packed}#{path.removeprefix(INSIDE)}")

    def row(self, activity: str, path: str, data: bytes, readme: str, locator: str) -> SourceRow | RejectedRow:
        file = path.rsplit("/", 1)[-1]
        stem, extension = file.rsplit(".", 1)
        author, licence = credits(activity, file, readme)
        if licence not in LICENCES.values():
            return RejectedRow(self.name, locator, f"a licence that fits no other: {licence or 'not told'}")
        described = describe(activity, stem, extension)
        if described is None:
            return RejectedRow(self.name, locator, "part of a game, that shows no thing")
        caption, attributes = described
        return SourceRow(
            corpus=self.name,
            locator=locator,
            modality="audio" if extension == "ogg" else "image",
            payload=data,
            media_type=TYPES[extension],
            licence=licence,
            author=author,
            caption=caption,
            attributes=attributes,
        )


def credits(activity: str, file: str, readme: str) -> tuple[str, str]:
    """Author and SPDX id of a file; '' if unknown."""
    if activity == "photo_hunter":
        return "Open Clip Art Library", "CC0-1.0"
    if activity == "memory-sound":
        return "Lionel Allorge, Yves Combe", "LAL-1.3"
    if activity == "instruments" and file.endswith(".ogg"):
        return INSTRUMENT_AUTHORS, "" if file == "drum_kit.ogg" else "GPL-3.0-or-later"
    for block in readme.split("\n\n"):
        match = re.search(r"Copyright: (.*)\nLicen[sc]e: (.*)\n", block)
        if match and file in block.splitlines():
            return match[1].strip(), LICENCES.get(match[2].strip(), match[2].strip())
    return "", ""


def describe(activity: str, stem: str, extension: str) -> tuple[str, dict[str, str]] | None:
    """Caption and attributes of a file; None if it shows no thing."""
    if activity == "photo_hunter":
        if stem in SCENES:
            return SCENES[stem], {"concept": SCENES[stem], "family": SCENES[stem], "kind": "scene"}
        return (
            (LOOSE[stem], {"concept": LOOSE[stem], "family": LOOSE[stem], "kind": "cartoon"}) if stem in LOOSE else None
        )
    if stem in ("background", "farm-animals", "question", "suitcase"):
        return None
    concept = NAMES.get(stem, stem.replace("_", " "))
    kind = "sound" if extension == "ogg" else "photo" if extension == "webp" else "drawing"
    attributes = {"concept": concept, "family": concept, "kind": kind}
    if activity in ("instruments", "explore_farm_animals"):
        attributes["pair"] = f"{activity}/{concept}"
    caption = f"the sound of {article(concept)}" if kind == "sound" else concept
    return caption, attributes


def article(noun: str) -> str:
    if noun in ("maracas", "timpani", "castanets", "bongos"):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


CORPUS = GCompris()
