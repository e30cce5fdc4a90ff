"""Which emoji a drawing's name means, for sets that name their files in words.

Sets follow the labels of the Unicode version of their day, so a name is tried as a label of today, as a label without
its hyphens, as an older way to name flags and skin tones, as a character's formal Unicode name, and as a shortcode that
all who use it agree on. What still has no meaning is not guessed at.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from codi2_datasets.corpora.emojibase import load_emojis, normalise_hexcode, read_json

SHORTCODES = ("joypixels", "iamcal", "github", "emojibase", "emojibase-legacy")
TONES = ("medium-light", "medium-dark", "light", "medium", "dark")

# Renamed since: former name -> label's slug of today.
RENAMED = {
    "adult": "person",
    "grinning-cat-face": "grinning-cat",
    "kissing-cat-face": "kissing-cat",
    "smiling-cat-face-with-heart-eyes": "smiling-cat-with-heart-eyes",
    "laptop-computer": "laptop",
    "school-backpack": "backpack",
    "flag-macedonia": "flag-north-macedonia",
    "flag-swaziland": "flag-eswatini",
    "flag-turkey": "flag-turkiye",
    "flag-cocos-islands": "flag-cocos-keeling-islands",
}


def slug(label: str) -> str:
    """'woman’s hat' -> 'womans-hat', 'Côte d’Ivoire' -> 'cote-divoire'."""
    ascii_label = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    plain = ascii_label.lower().replace("&", "and").replace("'", "")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


class Names:
    """A dictionary from names to normalised hexcodes."""

    def __init__(self, emojibase: Path) -> None:
        emojis = load_emojis(emojibase)
        self.by_slug = {slug(emoji.label): code for code, emoji in emojis.items()}
        self.by_squashed = {squash(name): code for name, code in self.by_slug.items()}
        names = read_json(emojibase / "package" / "meta" / "unicode-names.json")
        self.by_unicode = {squash(name): normalise_hexcode(code) for code, name in names.items()}
        self.by_shortcode = agreed_shortcodes(emojibase)

    def find(self, name: str, corrections: Mapping[str, str | None] | None = None) -> str | None:
        """The hexcode that the name means, or None. `corrections` (name -> slug or None) come before every rule."""
        if corrections and name in corrections:
            corrected = corrections[name]
            return self.by_slug[corrected] if corrected else None
        short = squash(name)
        return (
            self.by_slug.get(name)
            or self.by_slug.get(modern_name(name))
            or self.by_squashed.get(short)
            or self.by_unicode.get(short)
            or self.by_shortcode.get(short)
        )


def squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def modern_name(name: str) -> str:
    """Former ways to write flags and tones: 'flag-for-chad' -> 'flag-chad', 'ear-dark' -> 'ear-dark-skin-tone'."""
    name = re.sub(r"^flag-for-(flag-)?", "flag-", name)
    tone = re.fullmatch(rf"(.+)-({'|'.join(TONES)})", name)
    if tone:
        return f"{RENAMED.get(tone[1], tone[1])}-{tone[2]}-skin-tone"
    return RENAMED.get(name, name)


def agreed_shortcodes(emojibase: Path) -> dict[str, str]:
    """Shortcodes that mean the same emoji in every collection that has them."""
    meanings: dict[str, set[str]] = defaultdict(set)
    for collection in SHORTCODES:
        codes = read_json(emojibase / "package" / "en" / "shortcodes" / f"{collection}.json")
        for hexcode, words in codes.items():
            for word in [words] if isinstance(words, str) else words:
                meanings[squash(word)].add(normalise_hexcode(hexcode))
    return {word: codes.copy().pop() for word, codes in meanings.items() if len(codes) == 1}
