"""Tux Paint's stamps: cut-out photographs and drawings with a sentence each, some with sound, many read aloud.

Rows and their attributes, all with concept ('duck' of 'A duck.'), family (the concept in lower case), category (the
folder, 'animals/birds') and pair (shared by image, sound and speech of one stamp, 'animals/birds/duck'):
  image   kind 'photo or drawing', 'drawing' (SVG) or 'cartoon'; captions (language -> sentence)
  audio   kind 'sound': X.ogg, 'the sound of a duck'
  audio   kind 'speech': X_desc.ogg, the sentence spoken in English; transcript, language
A second corpus, tuxpaint-speech, holds the sentences spoken in other languages: X_desc_fr.ogg. Single letters and
numbers in other languages (7_fr.ogg) are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow

STAMPS = "usr/share/tuxpaint/stamps"
SOUNDS = {".ogg": "audio/ogg", ".wav": "audio/wav"}
PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}
SPEECH_SUFFIX = "_desc"
LOCALISED = re.compile(r".+_([a-z]{2,3}|[a-z]{2}_[A-Za-z]{2})")  # 7_pt.ogg, a_filled_en_GB.ogg

# Captions of sounds whose stamp's sentence does not name them. None: only that it makes a noise is certain.
SOUND_CAPTIONS: dict[str, str | None] = {
    "household/toilet": "the sound of a toilet",
    "seasonal/newyears/fireworks": "the sound of fireworks",
    "symbols/faces/excited": "the sound of an excited person",
    "symbols/faces/happy": "the sound of a happy person",
    "symbols/faces/mad": "the sound of an angry person",
    "symbols/faces/sad": "the sound of a sad person",
    "town/flags/checkeredflag": None,
}


@dataclass(frozen=True)
class Stamp:
    """The text of one stamp: 'animals/birds/duck'."""

    stem: str
    caption: str
    captions: dict[str, str]

    @property
    def concept(self) -> str:
        return concept_of(self.caption)


@dataclass(frozen=True)
class TuxPaint:
    name: str = "tuxpaint-stamps"
    version: str = "2"
    source: str = "deb:tuxpaint-stamps-default"
    companions: tuple[str, ...] = ()
    licence: str = "GPL-2.0-or-later"
    description: str = "Cut-out pictures with a sentence in many languages, sounds and speech"
    tasks: tuple[str, ...] = ("text_to_image", "image_captioning", "text_to_audio", "audio_editing")
    size: str = "950 images, 99 sounds, 75 spoken sentences, 161 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        root = package / STAMPS
        files = sorted((path for path in root.rglob("*") if path.is_file()), key=lambda path: path.as_posix())
        present = set(files)
        for path in files:
            if path.suffix in PICTURES:
                yield self.picture(root, path, has_svg=path.with_suffix(".svg") in present)
            elif path.suffix == ".ogg" and not LOCALISED.fullmatch(path.stem):
                yield self.sound(root, path)

    def picture(self, root: Path, path: Path, has_svg: bool) -> SourceRow | RejectedRow:
        stamp = read_stamp(root, path.with_suffix(""))
        if path.stem.endswith(("_mirror", "_flip")):
            return self.reject(root, path, "mirror image of another stamp")
        if path.suffix == ".png" and has_svg:
            return self.reject(root, path, "the same stamp is there as SVG")
        if stamp is None:
            return self.reject(root, path, "no caption")
        kind = "drawing" if path.suffix == ".svg" else "photo or drawing"
        if "cartoon" in stamp.stem.split("/"):
            kind = "cartoon"
        attributes = {"kind": kind, "captions": stamp.captions}
        return make_row(self.name, root, path, stamp, PICTURES[path.suffix], stamp.caption, attributes)

    def sound(self, root: Path, path: Path) -> SourceRow | RejectedRow:
        spoken = path.stem.endswith(SPEECH_SUFFIX)
        stamp = read_stamp(root, path.with_name(path.stem.removesuffix(SPEECH_SUFFIX)))
        if stamp is None:
            return self.reject(root, path, "no caption")
        if not spoken and stamp.stem.startswith("symbols/alphabets/"):
            return self.reject(root, path, "speech that its caption does not tell")
        if spoken or stamp.stem.startswith("symbols/math/"):
            attributes = {"kind": "speech", "transcript": stamp.caption, "language": "en"}
            return make_row(self.name, root, path, stamp, SOUNDS[".ogg"], stamp.caption, attributes)
        caption = SOUND_CAPTIONS.get(stamp.stem, sound_caption(stamp.caption))
        if caption is None:
            return self.reject(root, path, "its caption does not name a sound")
        return make_row(self.name, root, path, stamp, SOUNDS[".ogg"], caption, {"kind": "sound"})

    def reject(self, root: Path, path: Path, reason: str) -> RejectedRow:
        return RejectedRow(self.name, locator(root, path), reason)


def make_row(
    corpus: str, root: Path, path: Path, stamp: Stamp, media_type: str, caption: str, attributes: dict[str, Any]
) -> SourceRow:
    shared = {"concept": stamp.concept, "family": stamp.concept.lower(), "pair": stamp.stem}
    return SourceRow(
        corpus=corpus,
        locator=locator(root, path),
        modality=media_type.partition("/")[0],
        payload=path.read_bytes(),
        media_type=media_type,
        licence="GPL-2.0-or-later",
        author="Bill Kendrick and the contributors to Tux Paint",
        caption=caption,
        attributes={**shared, "category": stamp.stem.rpartition("/")[0], **attributes},
    )


def locator(root: Path, path: Path) -> str:
    return f"{STAMPS}/{path.relative_to(root).as_posix()}"


def read_stamp(root: Path, stem: Path) -> Stamp | None:
    """The sentence in English (the first line) and in other languages ('de.utf8=Eine Ente.'); None if there is none."""
    text = stem.with_name(f"{stem.name}.txt")
    if not text.is_file():
        return None
    first, *others = text.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    captions = {}
    for line in others:
        language, mark, sentence = line.partition(".utf8=")
        if mark and sentence.strip():
            captions[language.strip()] = sentence.strip()
    caption = " ".join(first.split())
    return Stamp(stem.relative_to(root).as_posix(), caption, dict(sorted(captions.items()))) if caption else None


def concept_of(sentence: str) -> str:
    """'A great blue heron.' -> 'great blue heron'; 'King. Can move one step ...' -> 'king'."""
    plain = re.split(r"(?<=\w{3})[.!?]+\s", sentence)[0].rstrip(".! ")
    article = re.match(r"(An?|The|Some) ", plain)
    if article:
        return plain[article.end() :]
    first, _, rest = plain.partition(" ")
    return f"{first.lower() if first.istitle() else first} {rest}".strip()


def sound_caption(sentence: str) -> str | None:
    """'A duck.' -> 'the sound of a duck'; None for a sentence that does not name a thing."""
    if not re.match(r"(An?|The) [^.!?]+\.?$", sentence):
        return None
    return f"the sound of {sentence[0].lower()}{sentence[1:].rstrip('.')}"


@dataclass(frozen=True)
class TuxPaintSpeech:
    name: str = "tuxpaint-speech"
    version: str = "2"
    source: str = "deb:tuxpaint-stamps-default"
    companions: tuple[str, ...] = ()
    licence: str = "GPL-2.0-or-later"
    description: str = "The stamps' sentences spoken in other languages than English"
    tasks: tuple[str, ...] = ("text_to_audio",)
    size: str = "7,239 spoken sentences in 12 languages, 161 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        root = package / STAMPS
        for path in sorted(root.rglob(f"*{SPEECH_SUFFIX}_*"), key=lambda path: path.as_posix()):
            stem, _, language = path.stem.rpartition(f"{SPEECH_SUFFIX}_")
            stamp = read_stamp(root, path.with_name(stem))
            sentences = {key.lower(): sentence for key, sentence in stamp.captions.items()} if stamp else {}
            sentence = sentences.get(language.lower())
            if path.suffix not in SOUNDS or stamp is None or sentence is None:
                yield RejectedRow(self.name, locator(root, path), "no sentence in its language")
                continue
            attributes = {"kind": "speech", "transcript": sentence, "language": language}
            yield make_row(self.name, root, path, stamp, SOUNDS[path.suffix], sentence, attributes)


CORPORA = (TuxPaint(), TuxPaintSpeech())
