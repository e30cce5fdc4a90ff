"""Scratch 1.4's media library: sounds, costumes and backdrops for children's games. One row per file.

Captions are derived from the file names, which are descriptive ('HorseGallop', 'woods-and-bench'). Attributes: concept,
family; kind 'sound', 'costume' (with pose, a letter or number, if there are several) or 'scene'. Letters, people named
by first names, music loops and words sung or spoken are rejected: their names do not describe what is seen or heard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow

FOLDER = "usr/share/scratch/Media"
PICTURES = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg"}
SOUNDS = {".wav": "audio/wav", ".mp3": "audio/mpeg"}
AUTHOR = "Lifelong Kindergarten Group, MIT Media Lab"
# descriptive names from folders whose names are otherwise first names or numbers
PEOPLE = {"ballerina": "ballerina", "breakdancer": "breakdancer", "diver": "diver", "prince": "prince", "princess": "princess",
          "baby": "baby", "referee": "referee", "singer": "singer", "thai-dancer": "Thai dancer",
          "ribbon-dancer": "ribbon dancer", "womanwaving": "woman waving", "football-run": "football player running",
          "football-stand": "football player standing"}  # fmt: skip
# names that are not descriptive by themselves: caption, concept
SAID = {
    "Dog": ("a dog barking", "dog"), "SeaLion": ("a sea lion", "sea lion"), "HorseGallop": ("a horse galloping", "horse"),
    "Owl": ("an owl", "owl"), "Rooster": ("a rooster crowing", "rooster"), "Bird": ("a bird singing", "bird"),
    "WolfHowl": ("a wolf howling", "wolf"), "Crickets": ("crickets", "cricket"), "Cricket": ("a cricket", "cricket"),
    "Kitten": ("a kitten", "cat"), "Goose": ("a goose", "goose"), "Meow": ("a cat meowing", "cat"),
    "Duck": ("a duck quacking", "duck"), "Horse": ("a horse neighing", "horse"), "Cat": ("a cat", "cat"),
    "Trumpet": ("a trumpet", "trumpet"), "GuitarStrum": ("a guitar being strummed", "guitar"),
    "Dijjeridoo": ("a didgeridoo", "didgeridoo"), "Gong": ("a gong", "gong"), "HandClap": ("a hand clap", "clapping hands"),
    "Shaker": ("a shaker", "shaker"), "CymbalCrash": ("a crash cymbal", "cymbal"), "RideCymbal": ("a ride cymbal", "cymbal"),
    "DrumBuzz": ("a buzzing drum", "drum"), "BabyCry": ("a baby crying", "baby"), "BellToll": ("a bell tolling", "bell"),
    "MotorcyclePassing": ("a motorcycle passing", "motorcycle"), "CarPassing": ("a car passing", "car"),
    "SewingMachine": ("a sewing machine", "sewing machine"), "Typing": ("typing on a keyboard", "keyboard"),
    "Singer": ("a singer", "singer"), "BeatBox": ("human beatboxing", "beatbox"),
}  # fmt: skip
NAMELESS = re.compile(r"^(fantasy|wild|gobo|xy-grid|button|buttonPressed|hair|manhole)\d*$")
SAME = {"convertible": "car", "car-blue": "car", "car-bug": "car", "car-cow": "car", "lioness": "lion", "cub": "bear cub",
        "roundman": "", "mic": "microphone", "partyhat": "party hat", "beachball": "beach ball", "tennisball": "tennis ball",
        "soccer": "soccer ball", "sunglassF": "sunglasses", "wizardhat": "wizard hat", "palmtree": "palm tree",
        "bananas": "bananas", "magiccarpet": "magic carpet", "bike": "bicycle", "tug-boat": "tug boat",
        "street-cleaner-mit": "street cleaner", "bird-flying": "bird", "hippo": "hippopotamus", "monkeyking": "monkey king",
        "sail-boat": "sailing boat"}  # fmt: skip


@dataclass(frozen=True)
class Scratch:
    name: str = "scratch"
    version: str = "1"
    source: str = "deb:scratch"
    companions: tuple[str, ...] = ()
    licence: str = "CC-BY-SA-3.0"
    description: str = "Costumes, backdrops and sounds of the Scratch library"
    tasks: tuple[str, ...] = ("text_to_image", "composition", "text_to_audio", "audio_captioning")
    size: str = "324 images and sounds, 9 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        for path in sorted((package / FOLDER).rglob("*")):
            if not path.is_file() or path.name == "scratchthumbs.db":
                continue
            locator = path.relative_to(package).as_posix()
            kind, *folders = path.relative_to(package / FOLDER).parts[:-1]
            described = describe(kind, "/".join(folders), path.stem, path.suffix.lower())
            if isinstance(described, str):
                yield RejectedRow(self.name, locator, described)
                continue
            caption, attributes = described
            modality = "audio" if attributes["kind"] == "sound" else "image"
            yield SourceRow(
                corpus=self.name,
                locator=locator,
                modality=modality,
                payload=path.read_bytes(),
                media_type={**PICTURES, **SOUNDS}[path.suffix.lower()],
                licence=self.licence,
                author=AUTHOR,
                caption=caption,
                attributes=attributes,
            )


def describe(kind: str, folder: str, stem: str, suffix: str) -> tuple[str, dict[str, str]] | str:
    """Caption and attributes of a file, or the reason for rejection."""
    if suffix not in PICTURES | SOUNDS:
        return "no picture or sound"
    if kind == "Sounds":
        return sound(folder, stem)
    if kind == "Backgrounds":
        caption = words(re.sub(r"(?:[-_]?\d+(?:-[a-z])?|-[ab])$", "", stem))
        return "a grid" if stem == "xy-grid" else (caption, {"concept": caption, "family": caption, "kind": "scene"})
    return costume(folder, stem)


def sound(folder: str, stem: str) -> tuple[str, dict[str, str]] | str:
    plain = stem.rstrip("0123456789")
    if folder == "Music Loops":
        return "a loop of music whose name does not say what is heard"
    if folder == "Vocals" and plain not in SAID:
        return "words that are sung or spoken"
    default = words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"-(fe)?male\d*$|-\d$", "", plain))).lower()
    caption, concept = SAID.get(plain, (default, default))
    if "female" in stem or "-male" in stem:
        caption = f"{caption} of a {'woman' if 'female' in stem else 'man'}"
    return caption, {"concept": concept, "family": concept, "kind": "sound"}


def costume(folder: str, stem: str) -> tuple[str, dict[str, str]] | str:
    if folder.startswith("Letters"):
        return "a letter or digit"
    match = re.fullmatch(r"(.+?)(\d*)(?:-([a-z]))?", stem)
    assert match is not None
    plain, number, pose = match[1], match[2], match[3] or ""
    if folder == "People" and plain not in PEOPLE:
        return "a person, by name"
    if NAMELESS.match(plain):
        return "its name does not say what it shows"
    concept = PEOPLE[plain] if folder == "People" else SAME.get(plain, words(plain))
    return concept, {
        "concept": concept,
        "family": concept,
        "kind": "costume",
        "character": f"{plain}{number}",
        "pose": pose,
    }


def words(name: str) -> str:
    return " ".join(re.split(r"[-_ ]+", name)).strip()


CORPUS = Scratch()
