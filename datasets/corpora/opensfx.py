"""OpenSFX: the sounds of a game of trains, ships and factories. One row per sound, from the archive of the game.

Each sound has its title, its authors and its licence: '"Ship horn". Original "…" by Leon Milo. Edited by Wuzzy.
License: …'. Attributes: concept, family (the title without text in brackets), kind 'sound'. Sounds of Toyland, a
fantasy world, and jingles are rejected: their titles describe their use, not the sound.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow

FILE = "usr/share/games/openttd/baseset/opensfx/opensfx.cat"
TOLD = re.compile(r'^"(?P<title>.+?)"\.? (?P<credits>.*?)\s*License: (?P<licence>.*?)\.?$', re.S)
LICENCES = (
    ("Attribution-ShareAlike 3.0", "CC-BY-SA-3.0"), ("Attribution 3.0", "CC-BY-3.0"), ("Zero 1.0", "CC0-1.0"),
    ("GNU General Public License", "GPL-2.0-or-later"),
)  # fmt: skip
NOT_HEARD = ("good year", "bad year", "oooh sound", "cartoon", "unused", "beep", "click")
SIZED = 0x7FFFFFFF  # the highest bit of an offset marks that a name follows


@dataclass(frozen=True)
class OpenSfx:
    name: str = "opensfx"
    version: str = "1"
    source: str = "deb:openttd-opensfx"
    companions: tuple[str, ...] = ()
    licence: str = "CC-BY-SA-3.0"
    description: str = "Sounds of vehicles, weather, animals and industry"
    tasks: tuple[str, ...] = ("text_to_audio", "audio_captioning", "audio_editing")
    size: str = "42 sounds, 12 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        for number, (described, sound) in enumerate(entries((package / FILE).read_bytes())):
            locator = f"{FILE}#{number:02d}"
            match = TOLD.match(described)
            licence = next((spdx for words, spdx in LICENCES if match and words in match["licence"]), None)
            if match is None or licence is None:
                yield RejectedRow(self.name, locator, "no title or licence that is known")
                continue
            title = re.sub(r"^(Tropical|Arctic|Temperate|Sub-tropical)[^:]*: ", "", match["title"])
            if title.startswith("Toyland") or title.lower().startswith(NOT_HEARD) or re.search(r"/|\d\+", title):
                yield RejectedRow(self.name, locator, "its title does not say what is heard")
                continue
            caption = re.sub(r"\s*\((?:\d+)\)|\s*\(.*", "", title).split(": ")[-1].strip().lower()
            yield SourceRow(
                corpus=self.name,
                locator=locator,
                modality="audio",
                payload=sound,
                media_type="audio/wav",
                licence=licence,
                author=" ".join(match["credits"].split()),
                caption=caption,
                attributes={"concept": caption, "family": caption, "kind": "sound", "title": match["title"]},
            )


def entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The description of each sound, and the sound: a table of offsets and sizes, then length, text and RIFF of each."""
    first = struct.unpack_from("<I", content)[0] & SIZED
    for place in range(0, first, 8):
        offset, size = struct.unpack_from("<II", content, place)
        start = offset & SIZED
        length = content[start]
        text = content[start + 1 : start + 1 + length].rstrip(b"\0").decode("utf-8", "replace")
        yield text, content[start + 1 + length : start + 1 + length + size]


CORPUS = OpenSfx()
