"""Emoji data of Unicode and emojibase: words, group, and the relations between variants."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

SOURCE = "npm:emojibase-data@17.0.0"

# Variants that no rule finds. The right side is the label of the neutral form.
FAMILY_OF = {
    "boy": "child",
    "girl": "child",
    "old man": "older person",
    "old woman": "older person",
    "prince": "person with crown",
    "princess": "person with crown",
    "Santa Claus": "Mx Claus",
    "Mrs. Claus": "Mx Claus",
    "merman": "merperson",
    "mermaid": "merperson",
    "woman and man holding hands": "people holding hands",
    # one flag of several territories: the same image under several names
    "flag: Bouvet Island": "flag: Norway",
    "flag: Svalbard & Jan Mayen": "flag: Norway",
    "flag: Clipperton Island": "flag: France",
    "flag: St. Martin": "flag: France",
    "flag: Heard & McDonald Islands": "flag: Australia",
    "flag: U.S. Outlying Islands": "flag: United States",
    "flag: Ceuta & Melilla": "flag: Spain",
    "flag: Diego Garcia": "flag: British Indian Ocean Territory",
}
GENDER_OF = {"prince": "man", "princess": "woman", "Santa Claus": "man", "Mrs. Claus": "woman", "merman": "man",
             "mermaid": "woman", "boy": "boy", "girl": "girl", "child": "child"}  # fmt: skip
GENDER_WORDS = {"man": "man", "men": "man", "woman": "woman", "women": "woman"}
NEUTRAL_WORDS = {"man": "person", "woman": "person", "men": "people", "women": "people"}
MEMBERS = re.compile(r"^(kiss|couple with heart|family): ")  # 'kiss: woman, man': the participants follow the colon
FACING = re.compile(r": facing (right|left)$")


@dataclass(frozen=True)
class Emoji:
    """One emoji sequence, as drawn once in every style that has it."""

    hexcode: str
    """Normalised, see `normalise_hexcode`."""
    label: str
    """'woman running: facing right: dark skin tone'."""
    base_label: str
    """The label without the skin tone: 'woman running: facing right'."""
    family: str
    """Also without gender and direction: 'person running'."""
    group: str
    subgroup: str
    tags: tuple[str, ...]
    tone: int
    """0 none, 1 light to 5 dark; two people of different tones a and b: 10 * a + b."""
    gender: str
    """woman, man or person (boy, girl or child for the young) if the family has such variants, else ''."""
    direction: str
    """'right' for the variants that face right instead of left, else ''."""
    version: float
    """The Emoji version that introduced it; 0 if it has none."""


def normalise_hexcode(hexcode: str) -> str:
    """'23_FE0F_20E3' -> '0023-20e3': without variation selectors, joiners and the tag that ends a regional flag, which
    styles write inconsistently.
    """
    parts = hexcode.lower().replace("_", "-").split("-")
    return "-".join(part.zfill(4) for part in parts if part not in ("fe0f", "200d", "e007f"))


@lru_cache(maxsize=2)
def load_emojis(package: Path) -> dict[str, Emoji]:
    """Every emoji of the unpacked emojibase-data, by normalised hexcode, in Unicode's own order."""
    folder = package / "package"
    entries = read_json(folder / "en" / "data.json")
    names = read_json(folder / "meta" / "groups.json")
    labels = {entry["label"] for entry in entries}
    families = {entry["label"]: family_of(entry["label"], entry.get("group"), labels) for entry in entries}
    genders = gender_by_label(families)
    emojis = {}
    for entry in sorted(entries, key=lambda entry: entry.get("order", 0)):
        base = entry["label"]
        facing = FACING.search(base)
        for form in (entry, *entry.get("skins", [])):
            emoji = Emoji(
                hexcode=normalise_hexcode(form["hexcode"]),
                label=form["label"],
                base_label=base,
                family=families[base],
                group=names["groups"].get(str(entry.get("group")), ""),
                subgroup=names["subgroups"].get(str(entry.get("subgroup")), ""),
                tags=tuple(entry.get("tags", ())),
                tone=tone_code(form.get("tone", 0)),
                gender=genders[base],
                direction=facing.group(1) if facing else "",
                version=form.get("version", 0),
            )
            emojis[emoji.hexcode] = emoji
    return emojis


LANGUAGES = ("de", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh")


@lru_cache(maxsize=2)
def load_captions(package: Path) -> dict[str, dict[str, str]]:
    """Labels of every emoji in languages other than English: hexcode -> language -> label."""
    captions: dict[str, dict[str, str]] = defaultdict(dict)
    for language in LANGUAGES:
        for entry in read_json(package / "package" / language / "data.json"):
            for form in (entry, *entry.get("skins", [])):
                captions[normalise_hexcode(form["hexcode"])][language] = form["label"]
    return captions


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def tone_code(tone: int | list[int]) -> int:
    return tone if isinstance(tone, int) else int("".join(map(str, tone)))


def family_of(label: str, group: int | None, labels: set[str]) -> str:
    """The label of the neutral form, if Unicode has one: 'man student' -> 'student', 'man running' -> 'person running'.

    `labels` are all existing labels. Words for people mean people only in the group people-body (1): a man's shoe is no
    variant of a woman's boot.
    """
    if label in FAMILY_OF:
        return FAMILY_OF[label]
    if group != 1:
        return label
    label = FACING.sub("", label)
    if members := MEMBERS.match(label):
        return members.group(1)
    gendered = r"\b(woman|women|man|men)\b"
    if not re.search(gendered, label):
        return label
    neutral = re.sub(gendered, lambda match: NEUTRAL_WORDS[match.group()], label)
    plain = re.sub(rf"{gendered} ", "", label)
    return next((form for form in (neutral, plain) if form in labels), neutral)


def gender_by_label(families: dict[str, str]) -> dict[str, str]:
    """The gender of each label; the neutral form counts as 'person' only if others of its family have a gender."""
    by_family = defaultdict(list)
    for label, family in families.items():
        by_family[family].append(label)
    genders = {}
    for family, members in by_family.items():
        stated = {label: stated_gender(label) if len(members) > 1 else "" for label in members}
        any_stated = any(stated.values())
        for label, gender in stated.items():
            neutral = any_stated and FACING.sub("", label) == family
            genders[label] = gender or ("person" if neutral else "")
    return genders


def stated_gender(label: str) -> str:
    """The gender in the label: 'man', 'woman', ...; '' for neither and for both."""
    if label in GENDER_OF:
        return GENDER_OF[label]
    if label.startswith("family"):
        return ""
    words = {GENDER_WORDS[word] for word in re.findall(r"[a-z]+", label.lower()) if word in GENDER_WORDS}
    return words.pop() if len(words) == 1 else ""
