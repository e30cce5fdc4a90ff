"""Resolves names of drawings to emoji, for sets that name their files in words.

Sets follow the labels of the Unicode version of their time. So a name is tried as a current label, as a label without
hyphens, as an older form of naming flags and skin tones, as a character's formal Unicode name, and as a shortcode with
the same meaning in all collections. Names that still have no meaning are not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from codi2_datasets.corpora.support.emojibase import load_emojis, normalise_hexcode, read_json

SHORTCODES = ("joypixels", "iamcal", "github", "emojibase", "emojibase-legacy")
TONES = {"light": 1, "medium-light": 2, "medium": 3, "medium-dark": 4, "dark": 5}
TONED = re.compile(r"(.+?)-(medium-light|medium-dark|light|medium|dark)(-skin-tone)?")

# Bare characters that shortcodes use for the keycap; some sets draw them as blanks.
NO_EMOJI = {"asterisk", "number-sign"}

# Labels that end in a character that no slug keeps.
KEYCAPS = {"keycap-hashtag": "0023-20e3", "keycap-pound": "0023-20e3", "keycap-asterisk": "002a-20e3"}

# Renamed labels: former name -> slug of the current label.
RENAMED = {
    "a-button": "a-button-blood-type",
    "ab-button": "ab-button-blood-type",
    "b-button": "b-button-blood-type",
    "o-button": "o-button-blood-type",
    "adult": "person",
    "blond-haired-person": "person-blond-hair",
    "bride-with-veil": "person-with-veil",
    "man-with-chinese-cap": "person-with-skullcap",
    "grinning-cat-face": "grinning-cat",
    "kissing-cat-face": "kissing-cat",
    "smiling-cat-face-with-heart-eyes": "smiling-cat-with-heart-eyes",
    "laptop-computer": "laptop",
    "school-backpack": "backpack",
    "flag-macedonia": "flag-north-macedonia",
    "flag-myanmar": "flag-myanmar-burma",
    "flag-swaziland": "flag-eswatini",
    "flag-turkey": "flag-turkiye",
    "flag-cocos-islands": "flag-cocos-keeling-islands",
    "flag-us-outlying-islands": "flag-u-s-outlying-islands",
    "flag-us-virgin-islands": "flag-u-s-virgin-islands",
    "exclamation-mark": "red-exclamation-mark",
    "knocked-out-face": "face-with-crossed-out-eyes",
    "phoenix-bird": "phoenix",
    "piata": "pinata",
    "up-exclamation-button": "up-button",
    "up-text-button": "up-button",
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
        labelled = ((slug(emoji.label), code) for code, emoji in emojis.items() if code not in KEYCAPS.values())
        self.by_slug = {**dict(labelled), **KEYCAPS}
        self.by_squashed = {squash(name): code for name, code in self.by_slug.items()}
        self.by_variant = {(emoji.base_label, emoji.tone): code for code, emoji in emojis.items()}
        self.base_label = {code: emoji.base_label for code, emoji in emojis.items() if not emoji.tone}
        names = read_json(emojibase / "package" / "meta" / "unicode-names.json")
        self.by_unicode = {squash(name): normalise_hexcode(code) for code, name in names.items()}
        self.by_shortcode = agreed_shortcodes(emojibase)

    def find(self, name: str, corrections: Mapping[str, str | None] | None = None) -> str | None:
        """The hexcode of a name, or None. `corrections` (name -> slug or None) take precedence over every rule."""
        if corrections and name in corrections:
            corrected = corrections[name]
            return self.by_slug[corrected] if corrected else None
        if name in NO_EMOJI:
            return None
        return self.find_label(name) or self.find_toned(name) or self.find_elsewhere(name)

    def find_label(self, name: str) -> str | None:
        """Look up a label, in its current or a former form."""
        for form in former_names(name):
            if code := self.by_slug.get(form) or self.by_squashed.get(squash(form)):
                return code
        return None

    def find_toned(self, name: str) -> str | None:
        """Look up a label with a tone, wherever the current label has the tone: 'man-beard-dark'."""
        toned = TONED.fullmatch(name)
        code = self.find_label(toned[1]) or self.find_elsewhere(toned[1]) if toned else None
        if not toned or not code or code not in self.base_label:
            return None
        return self.by_variant.get((self.base_label[code], TONES[toned[2]]))

    def find_elsewhere(self, name: str) -> str | None:
        """Look up a formal Unicode name or a shortcode."""
        return self.by_unicode.get(squash(name)) or self.by_shortcode.get(squash(name))


def squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def former_names(name: str) -> list[str]:
    """The name, and its current form if it follows an older convention: 'flag-for-chad' -> 'flag-chad'."""
    name = RENAMED.get(name, name)
    forms = [name]
    if country := re.fullmatch(r"flag-for-(?:flag-)?(.+)", name):
        kind = country[1].endswith(("flag", "flags"))  # 'flag-for-white-flag' is no country
        forms.append(country[1] if kind else RENAMED.get(f"flag-{country[1]}", f"flag-{country[1]}"))
    if person := re.fullmatch(r"(man|woman|person)-(.+)", name):
        who, rest = person.groups()
        rest = rest.replace("blonde-hair", "blond-hair")
        forms += [f"{who}-{rest}", f"{rest}-{who}"]
        if rest == "merpeople":
            forms.append({"man": "merman", "woman": "mermaid", "person": "merperson"}[who])
        elif who == "person":
            forms.append(rest)
        forms.append(f"{'people' if who == 'person' else who[:-2] + 'en'}-{rest}")
    return forms


def agreed_shortcodes(emojibase: Path) -> dict[str, str]:
    """Shortcodes that mean the same emoji in every collection that has them."""
    meanings: dict[str, set[str]] = defaultdict(set)
    for collection in SHORTCODES:
        codes = read_json(emojibase / "package" / "en" / "shortcodes" / f"{collection}.json")
        for hexcode, words in codes.items():
            for word in [words] if isinstance(words, str) else words:
                meanings[squash(word)].add(normalise_hexcode(hexcode))
    return {word: codes.copy().pop() for word, codes in meanings.items() if len(codes) == 1}
