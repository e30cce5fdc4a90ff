"""Open Clip Art: public domain drawings. One row per drawing whose title describes what it shows.

Titles, keywords and authors are read from the files' own metadata. Only folders of things are read: no icons, flags,
logos, symbols or patterns. A title is used if its last word is an English noun and one of its words is among the
drawing's keywords or folders, which excludes titles in other languages, numbers and jokes.
Attributes: concept and family (the title), kind 'clip-art', keywords, folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow

WORDNET = "deb:wordnet-base"
FOLDER = "usr/share/openclipart/svg"
THINGS = ("animals", "food", "plants", "buildings", "transportation/boating", "transportation/vehicles", "tools",
          "recreation/music", "recreation/sports", "recreation/toys", "electronics", "containers", "people/clothing",
          "computer/hardware", "office", "education", "science/medicine", "geography/astronomy")  # fmt: skip
LEFT_OUT = ("recreation/music/CD_Player", "people/clothing/pantyhose", "electronics/battery", "animals/fantasy")
PUBLIC_DOMAIN = "web.resource.org/cc/PublicDomain"
# titles of diagrams, of sets of drawings, and of drawings that show something else
MISLEADING = ("illustration", "example", "rules", "collection", "homes", "houses", "manager", "smoke", "virus", "moons", "hole",
              "building style", "hallway", "by ", "buttons", "kit", "symbol", "logo", "test", "template")  # fmt: skip
LARGEST = 400_000  # bytes; larger files take seconds to render
MOST_WORDS = 4
NOISE = re.compile(
    r"\b(clip ?art|icon|svg|cartoon|drawing|architetto|francesco|rollandin|remix|outline|silhouette|simple|stylized|bw|part of.*)\b"
)


@dataclass(frozen=True)
class OpenClipArt:
    name: str = "openclipart"
    version: str = "1"
    source: str = "deb:openclipart-svg"
    companions: tuple[str, ...] = (WORDNET,)
    licence: str = "CC-PDDC"
    description: str = "Clip-art of animals, food, plants, vehicles, tools and other things"
    tasks: tuple[str, ...] = ("text_to_image", "image_captioning", "composition")
    size: str = "608 images, 25 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        root, nouns = package / FOLDER, english_nouns(companions[WORDNET])
        for path in sorted(root.rglob("*.svg")):
            folder = path.parent.relative_to(root).as_posix()
            locator = path.relative_to(package).as_posix()
            if not within(folder, THINGS) or within(folder, LEFT_OUT):
                yield RejectedRow(self.name, locator, "icons, flags, symbols and other folders that show no things")
                continue
            payload = path.read_bytes()
            about = metadata(payload)
            if reason := unfit(about, payload, folder, nouns):
                yield RejectedRow(self.name, locator, reason)
                continue
            caption = about.caption
            attributes = {"concept": caption, "family": caption, "kind": "clip-art", "keywords": about.keywords}
            yield SourceRow(
                corpus=self.name,
                locator=locator,
                modality="image",
                payload=payload,
                media_type="image/svg+xml",
                licence=self.licence,
                author=about.author or "unknown (Open Clip Art Library)",
                caption=caption,
                attributes={**attributes, "folder": folder},
            )


@dataclass(frozen=True)
class Metadata:
    """Metadata of a file."""

    title: str
    keywords: list[str]
    author: str
    public: bool

    @property
    def caption(self) -> str:
        """The title in plain words: 'Apple_02 (red)' -> 'apple'."""
        title = re.sub(r"\([^)]*\)|[\d_#*+./\\|~-]+|'s\b", " ", self.title.lower())
        plain_title = " ".join(re.findall(r"[a-z]+", NOISE.sub(" ", title)))
        return re.sub(r"^(an?|the) ", "", plain_title)


def within(folder: str, folders: tuple[str, ...]) -> bool:
    return any(folder == other or folder.startswith(f"{other}/") for other in folders)


def metadata(payload: bytes) -> Metadata:
    text = payload.decode("utf-8", "replace")
    start = text.find("<metadata")
    block = text[start : text.find("</metadata", start)] if start >= 0 else ""
    title = re.search(r"<cc:Work[^>]*>\s*<dc:title>(.*?)</dc:title>", block, re.S)
    creator = re.search(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>", block, re.S)
    keywords = [plain(entry) for entry in re.findall(r"<rdf:li>(.*?)</rdf:li>", block, re.S)]
    return Metadata(
        plain(title[1]) if title else "",
        [word for word in keywords if word and word != "hash"],
        plain(creator[1]) if creator else "",
        PUBLIC_DOMAIN in block,
    )


def plain(text: str) -> str:
    return " ".join(unescape(text).split())


def english_nouns(package: Path) -> set[str]:
    """The single words of WordNet's index of nouns."""
    lines = (package / "usr/share/wordnet/index.noun").read_text(encoding="utf-8").splitlines()
    return {line.split(" ", 1)[0] for line in lines if line[:1].isalpha()}


def unfit(about: Metadata, payload: bytes, folder: str, nouns: set[str]) -> str:
    """Why a drawing is rejected; '' if it is not."""
    if not about.public:
        return "it does not say that it is in the public domain"
    if len(payload) > LARGEST:
        return f"a drawing of more than {LARGEST:,} bytes"
    words = about.caption.split()
    if any(word in f"{about.caption} " for word in MISLEADING):
        return "a title that does not name what is drawn"
    known = {word for text in (*about.keywords, folder) for word in re.findall(r"[a-z]+", text.lower())}
    if not words or len(words) > MOST_WORDS or max(map(len, words)) < 3:
        return "no title of a few words"
    if not any(word in known or word.rstrip("s") in known or f"{word}s" in known for word in words if len(word) > 2):
        return "no word of the title is among the keywords"
    if not {words[-1], words[-1].removesuffix("s"), words[-1].removesuffix("es")} & nouns:
        return "the title does not end in an English noun"
    return ""


CORPUS = OpenClipArt()
