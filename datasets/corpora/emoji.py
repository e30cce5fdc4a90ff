"""Emoji: the same concepts drawn in twelve styles. One row per emoji sequence and style.

Attributes: captions (the label in other languages), hexcode, concept (the label), base_concept (without skin tone),
family (also without gender and direction), style, group, subgroup, tags, tone, gender, direction, version: see `Emoji`.
A drawing is rejected if its name matches no emoji of emojibase, if its set withdrew it, or if the set has another one
of the same emoji. One drawing used for several emojis shows none of their differences: it is kept for the most general
one of a family (no skin tone, no gender), and rejected if it stands for several families (all flags of OpenMoji black).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.corpora.support.emoji_attributes import ATTRIBUTES, SCENES, SCENIC
from codi2_datasets.corpora.support.emoji_names import Names
from codi2_datasets.corpora.support.emojibase import SOURCE as EMOJIBASE
from codi2_datasets.corpora.support.emojibase import Emoji, load_captions, load_emojis, normalise_hexcode, read_json
from codi2_datasets.corpora.support.fxemoji_names import FXEMOJI
from codi2_datasets.corpora.support.iconify import Drawing, drawings

TASKS = ("text_to_image", "image_captioning", "image_editing", "exemplar_learning", "subject_driven")


@dataclass(frozen=True)
class CandidateDrawing:
    """A drawing, and the emojis that it may stand for: it is assigned to the first one that is free."""

    locator: str
    hexcodes: tuple[str, ...]
    payload: Callable[[], bytes]
    media_type: str
    reason: str = ""
    """The reason for rejection, if any."""


@dataclass(frozen=True)
class EmojiStyle:
    """One style of drawing; satisfies `Corpus`."""

    name: str
    style: str
    source: str
    licence: str
    author: str
    size: str
    find: Callable[[Path, Path], Iterator[CandidateDrawing]]
    """All drawings in the package (first path), identified with the help of emojibase (second path)."""
    version: str = "3"
    companions: tuple[str, ...] = (EMOJIBASE,)
    tasks: tuple[str, ...] = TASKS
    attributes = ATTRIBUTES

    @property
    def scenes(self) -> dict[str, tuple[str, ...]]:
        return {self.style: SCENES} if self.style in SCENIC else {}

    @property
    def description(self) -> str:
        return f"Emoji in the {self.style} style"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        emojibase = companions[EMOJIBASE]
        emojis, captions = load_emojis(emojibase), load_captions(emojibase)
        taken: set[str] = set()
        entries: list[
            tuple[CandidateDrawing, Emoji | None, str]
        ] = []  # a drawing with its emoji, or with the reason that it has none
        uses: dict[bytes, list[Emoji]] = defaultdict(list)
        for drawing in self.find(package, emojibase):
            known = [code for code in drawing.hexcodes if code in emojis]
            free = [code for code in known if code not in taken]
            if drawing.reason or not free:
                reason = "another drawing of the same emoji" if known else "no emoji of that name"
                entries.append((drawing, None, drawing.reason or reason))
                continue
            taken.add(free[0])
            entries.append((drawing, emojis[free[0]], ""))
            uses[drawing.payload()].append(emojis[free[0]])
        for drawing, emoji, reason in entries:
            reason = reason or (ambiguity(emoji, uses[drawing.payload()]) if emoji else "")
            if emoji and not reason:
                yield self.row(drawing, emoji, captions.get(emoji.hexcode, {}))
            else:
                yield RejectedRow(self.name, drawing.locator, reason)

    def row(self, drawing: CandidateDrawing, emoji: Emoji, captions: dict[str, str]) -> SourceRow:
        attributes = {
            "captions": captions,
            "hexcode": emoji.hexcode,
            "concept": emoji.label,
            "base_concept": emoji.base_label,
            "family": emoji.family,
            "style": self.style,
            "group": emoji.group,
            "subgroup": emoji.subgroup,
            "tags": list(emoji.tags),
            "tone": emoji.tone,
            "gender": emoji.gender,
            "direction": emoji.direction,
            "version": emoji.version,
        }
        return SourceRow(
            corpus=self.name,
            locator=drawing.locator,
            modality="image",
            payload=drawing.payload(),
            media_type=drawing.media_type,
            licence=self.licence,
            author=self.author,
            caption=emoji.label,
            attributes=attributes,
        )


def ambiguity(emoji: Emoji, users: list[Emoji]) -> str:
    """Why a drawing shared by all `users` must not be kept for `emoji`; '' if it may be."""
    if len(users) == 1:
        return ""
    neutral = ("", "person", "child")
    general = min(users, key=lambda user: (user.tone, user.base_label != user.family, user.gender not in neutral))
    if len({user.family for user in users}) > 1 or (general.tone and len({user.tone for user in users}) > 1):
        return "one drawing for several emojis"
    return "" if emoji is general else "the same drawing as a more general emoji"


@lru_cache(maxsize=2)
def names_of(emojibase: Path) -> Names:
    """All sets share it; to make it takes half as long as to read a set."""
    return Names(emojibase)


def find_in_icon_set(
    package: Path, emojibase: Path, corrections: dict[str, str | None] | None = None
) -> Iterator[CandidateDrawing]:
    """Drawings of an Iconify set, by its own table of characters if it has them, else by their names."""
    table: dict[str, list[str]] = {}
    for hexcode, name in sorted(read_json(package / "package" / "chars.json").items()):
        table.setdefault(name, []).append(normalise_hexcode(hexcode))
    names = names_of(emojibase)
    in_table = {code for codes in table.values() for code in codes}

    def meanings(drawing: Drawing) -> tuple[str, ...]:
        listed = [code for name in drawing.names for code in table.get(name, [])]
        if listed:
            return tuple(dict.fromkeys(listed))
        codes = [names.find(name, corrections) for name in drawing.names]
        return tuple(dict.fromkeys(code for code in codes if code and code not in in_table))

    for drawing in drawings(package):
        locator = f"package/icons.json#{drawing.names[0]}"
        reason = "withdrawn by its set" if drawing.hidden else ""
        yield CandidateDrawing(locator, meanings(drawing), drawing.svg.encode, "image/svg+xml", reason)


@dataclass(frozen=True)
class HexcodeFiles:
    """Drawings in files named after the hexcode; called like `find_in_icon_set`."""

    folder: str
    suffix: str
    media_type: str
    means: tuple[tuple[str, str], ...] = ()
    """Codes that the package confuses: the one in the name, and the one that is drawn."""

    def __call__(self, package: Path, emojibase: Path) -> Iterator[CandidateDrawing]:
        for path in sorted((package / self.folder).glob(f"*{self.suffix}")):
            signs = normalise_hexcode(path.name.removesuffix(self.suffix)).split("-")
            code = "-".join(dict(self.means).get(sign, sign) for sign in signs)
            yield CandidateDrawing(f"{self.folder}/{path.name}", (code,), path.read_bytes, self.media_type)


def find_fxemoji(package: Path, emojibase: Path) -> Iterator[CandidateDrawing]:
    return find_in_icon_set(package, emojibase, FXEMOJI)


MICROSOFT, GOOGLE, TWITTER = "Microsoft Corporation", "Google Inc", "Twitter"
EMOJI_ONE, MOZILLA, OPENMOJI = "Emoji One", "Mozilla", "OpenMoji"
WEBP, SVG = "image/webp", "image/svg+xml"

SWAPPED = (("1f3fc", "1f3fd"), ("1f3fd", "1f3fc"))  # medium-light skin is drawn in the files named after medium skin

CORPORA = (
    EmojiStyle("emoji-fluent-3d", "Fluent 3D", "npm:@lobehub/fluent-emoji-3d@1.1.0", "MIT", MICROSOFT,
               "3,373 images", HexcodeFiles("package/assets", ".webp", WEBP, SWAPPED), version="4"),
    EmojiStyle("emoji-fluent", "Fluent", "npm:@iconify-json/fluent-emoji@1.2.7", "MIT", MICROSOFT,
               "3,125 images", find_in_icon_set),
    EmojiStyle("emoji-fluent-flat", "Fluent flat", "npm:@iconify-json/fluent-emoji-flat@1.2.6", "MIT", MICROSOFT,
               "3,143 images", find_in_icon_set),
    EmojiStyle("emoji-fluent-high-contrast", "Fluent high contrast",
               "npm:@iconify-json/fluent-emoji-high-contrast@1.2.6", "MIT", MICROSOFT, "1,572 images",
               find_in_icon_set),
    EmojiStyle("emoji-noto", "Noto", "npm:@iconify-json/noto@1.2.9", "Apache-2.0", GOOGLE,
               "3,686 images", find_in_icon_set),
    EmojiStyle("emoji-noto-v1", "Noto v1", "npm:@iconify-json/noto-v1@1.2.5", "Apache-2.0", GOOGLE,
               "1,934 images", find_in_icon_set),
    EmojiStyle("emoji-twemoji", "Twemoji", "npm:@iconify-json/twemoji@1.2.5", "CC-BY-4.0", TWITTER,
               "3,935 images", find_in_icon_set),
    EmojiStyle("emoji-emojione", "EmojiOne", "npm:@iconify-json/emojione@1.2.3", "CC-BY-4.0", EMOJI_ONE,
               "1,791 images", find_in_icon_set),
    EmojiStyle("emoji-emojione-monotone", "EmojiOne monotone", "npm:@iconify-json/emojione-monotone@1.2.1",
               "CC-BY-4.0", EMOJI_ONE, "1,332 images", find_in_icon_set),
    EmojiStyle("emoji-fxemoji", "FxEmoji", "npm:@iconify-json/fxemoji@1.2.2", "Apache-2.0", MOZILLA,
               "882 images", find_fxemoji),
    EmojiStyle("emoji-openmoji", "OpenMoji", "npm:openmoji@17.0.0", "CC-BY-SA-4.0", OPENMOJI,
               "3,783 images", HexcodeFiles("package/color/svg", ".svg", SVG)),
    EmojiStyle("emoji-openmoji-black", "OpenMoji black", "npm:openmoji@17.0.0", "CC-BY-SA-4.0", OPENMOJI,
               "1,616 images", HexcodeFiles("package/black/svg", ".svg", SVG)),
)  # fmt: skip
