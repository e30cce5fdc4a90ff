"""Corpora of scenes, things and sounds, read from the real packages."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from codi2_datasets.corpora import RejectedRow, SourceRow, corpora
from codi2_datasets.corpora.gcompris import credits
from codi2_datasets.corpora.openclipart import metadata
from codi2_datasets.corpora.opensfx import entries
from codi2_datasets.corpora.scratch import describe
from codi2_datasets.corpora.support.rcc import RccError, files
from codi2_datasets.media.audio import normalise_audio
from codi2_datasets.media.image import normalise_image
from codi2_datasets.media.video import decode_video, normalise_video
from codi2_datasets.planning.licences import KNOWN
from codi2_datasets.sources.fetch import SourceUnavailable, fetch

NAMES = ("opensfx", "scratch", "openclipart", "gcompris", "sample-clips")


def package(source: str) -> Path:
    try:
        return fetch(source).path
    except SourceUnavailable as error:
        pytest.skip(str(error))


@cache
def rows_of(name: str) -> tuple[SourceRow | RejectedRow, ...]:
    corpus = corpora()[name]
    return tuple(corpus.rows(package(corpus.source), {source: package(source) for source in corpus.companions}))


def kept(name: str) -> list[SourceRow]:
    return [row for row in rows_of(name) if isinstance(row, SourceRow)]


@pytest.mark.parametrize("name", NAMES)
def test_every_thing_of_a_package_is_a_row_or_a_reject_with_a_reason(name: str) -> None:
    rows = rows_of(name)
    assert len({row.locator for row in rows}) == len(rows)
    assert all(row.reason for row in rows if isinstance(row, RejectedRow))
    assert corpora()[name].size.startswith(f"{len(kept(name))} ")
    for row in kept(name):
        assert row.licence in KNOWN and row.author and row.caption == row.caption.strip() != ""
        assert row.attributes["family"] and row.attributes["kind"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_the_media_can_be_read(name: str) -> None:
    for row in kept(name)[:: max(1, len(kept(name)) // 12)]:
        payload = bytes(row.payload)  # type: ignore[arg-type]
        if row.modality == "image":
            assert normalise_image(payload, row.media_type, 32)
        elif row.modality == "audio":
            assert normalise_audio(payload)[1] > 0.02
        else:
            assert len(decode_video(normalise_video(payload, row.media_type, 32).data)) >= 8


def test_pictures_and_sounds_of_one_thing_are_paired() -> None:
    rows = [row for row in kept("gcompris") if "pair" in row.attributes]
    kinds: dict[str, set[str]] = {}
    for row in rows:
        kinds.setdefault(row.attributes["pair"], set()).add(row.modality)
    assert sum(found == {"image", "audio"} for found in kinds.values()) == 34
    assert kinds["instruments/drum kit"] == {"image"}  # its sound is under a licence that is no longer given


def test_licences_are_read_file_by_file() -> None:
    readme = "Copyright: A\nLicense: CC0-1.0\nFiles:\na.webp\n\nCopyright: B\nLicense: GPLv3\nFiles:\nb.svg\nc.svg\n"
    assert credits("explore_farm_animals", "a.webp", readme) == ("A", "CC0-1.0")
    assert credits("explore_farm_animals", "c.svg", readme) == ("B", "GPL-3.0-or-later")
    assert credits("explore_farm_animals", "d.svg", readme) == ("", "")
    told = Counter(row.licence for row in kept("opensfx"))
    assert set(told) == {"CC-BY-3.0", "CC0-1.0", "CC-BY-SA-3.0"}
    helicopter = next(row for row in kept("opensfx") if row.caption == "helicopter")
    assert helicopter.licence == "CC-BY-SA-3.0" and "lorenzosu" in helicopter.author


def test_poses_of_a_character_are_one_thing() -> None:
    dogs = [row for row in kept("scratch") if row.attributes["concept"] == "dog" and row.modality == "image"]
    assert {row.attributes["character"] for row in dogs} == {"dog1", "dog2"}
    assert sorted(row.attributes["pose"] for row in dogs if row.attributes["character"] == "dog2") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("kind", "folder", "stem", "suffix", "said"),
    [
        ("Sounds", "Animal", "HorseGallop", ".wav", "a horse galloping"),
        ("Sounds", "Human", "Sneeze-female", ".wav", "sneeze of a woman"),
        ("Sounds", "Effects", "DoorCreak", ".wav", "door creak"),
        ("Backgrounds", "Outdoors", "train-tracks3", ".gif", "train tracks"),
        ("Costumes", "Transportation", "tug-boat", ".gif", "tug boat"),
        ("Costumes", "People", "cassy-dancing-1", ".gif", "a person, by name"),
        ("Costumes", "Letters/stone", "a", ".gif", "a letter or digit"),
        ("Sounds", "Vocals", "Join-us", ".mp3", "words that are sung or spoken"),
    ],
)
def test_names_say_what_is_there(kind: str, folder: str, stem: str, suffix: str, said: str) -> None:
    found = describe(kind, folder, stem, suffix)
    assert (found if isinstance(found, str) else found[0]) == said


def test_titles_lose_numbers_and_brackets() -> None:
    told = metadata(
        b"<svg><metadata><cc:Work><dc:title>Red Apple_02 (remix)</dc:title><rdf:li>fruit</rdf:li></cc:Work></metadata></svg>"
    )
    assert told.caption == "red apple" and told.keywords == ["fruit"] and not told.public


def test_a_sound_archive_is_taken_apart() -> None:
    told, sound = b'"Bell". By A. License: X.\0', b"RIFFdata"
    archive = struct.pack("<II", (8 | 0x80000000), len(sound)) + bytes([len(told)]) + told + sound
    assert list(entries(archive)) == [('"Bell". By A. License: X.', sound)]


def resource(flags: int, data: bytes) -> bytes:
    """A Qt resource file with one file, 'a', in its root."""
    name = struct.pack(">HI", 1, 0) + "a".encode("utf-16-be")
    root = struct.pack(">IHII", 0, 2, 1, 1)
    leaf = struct.pack(">IHII", 0, flags, 0, 0)
    content = struct.pack(">I", len(data)) + data
    offsets = struct.pack(">III", 20 + len(content) + len(name), 20, 20 + len(content))
    return b"qres" + struct.pack(">I", 1) + offsets + content + name + root + leaf


def test_resource_files_are_unpacked_or_refused() -> None:
    packed = b"\0\0\0\5" + zlib.compress(b"hello")
    assert list(files(resource(0, b"hello"))) == [("a", b"hello")] == list(files(resource(1, packed)))
    with pytest.raises(RccError, match="a: packed with Zstandard"):
        list(files(resource(4, b"hello")))
    with pytest.raises(RccError, match="not a Qt resource file"):
        list(files(b"RIFFdata"))
