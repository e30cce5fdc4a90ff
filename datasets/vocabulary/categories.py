"""Categories of things, such as animal, vehicle or flag: the Unicode subgroups of each, with their exceptions.

Concepts without a category are not asked about, counted or placed.
"""

from __future__ import annotations

from dataclasses import dataclass

from codi2_storage.catalog.sql import literal, literals


@dataclass(frozen=True)
class Category:
    name: str
    words: str
    """Answers 'what is it?'."""
    many: str
    """Answers 'what are they?'."""
    subgroups: tuple[str, ...]
    but: tuple[str, ...] = ()
    """Concepts of these subgroups that do not belong to the category."""
    group: str = ""
    """The group that stands for the category in corpora without subgroups."""

    @property
    def row(self) -> str:
        return literals([self.name, self.words, self.many])


CATEGORIES = (
    Category(
        "animal",
        "an animal",
        "animals",
        ("animal-amphibian", "animal-bird", "animal-bug", "animal-mammal", "animal-marine", "animal-reptile"),
        ("feather", "wing", "phoenix", "microbe", "spider web", "paw prints", "pig nose", "coral", "spiral shell",
         "oyster", "dragon", "dragon face", "unicorn"),
        "animals-nature",
    ),
    Category(
        "food",
        "food",
        "food",
        ("food-asian", "food-fruit", "food-prepared", "food-sweet", "food-vegetable"),
        ("cooking", "fried shrimp", "salt", "honey pot", "takeout box", "canned food", "fortune cookie"),
        "food-drink",
    ),
    Category("flag", "a flag", "flags", ("country-flag", "subdivision-flag"), (), "flags"),
    Category(
        "vehicle",
        "a vehicle",
        "vehicles",
        ("transport-air", "transport-ground", "transport-water"),
        ("airplane arrival", "airplane departure", "parachute", "satellite", "seat", "flying saucer", "bus stop",
         "construction", "fuel pump", "horizontal traffic light", "vertical traffic light", "motorway", "oil drum",
         "police car light", "railway track", "roller skate", "station", "stop sign", "wheel", "skateboard",
         "manual wheelchair", "motorized wheelchair", "anchor", "ring buoy", "aerial tramway", "mountain cableway",
         "suspension railway", "mountain railway"),
    ),
    Category("instrument", "a musical instrument", "musical instruments", ("musical-instrument",)),
    Category(
        "clothing",
        "something to wear",
        "things to wear",
        ("clothing",),
        ("folding hand fan", "gem stone", "lipstick", "prayer beads", "purse", "shopping bags", "hair pick",
         "handbag", "clutch bag", "backpack", "crown", "ring"),
    ),
    Category(
        "building",
        "a building",
        "buildings",
        ("place-building", "place-religious"),
        ("brick", "rock", "wood", "hut", "wedding", "love hotel", "building construction", "kaaba", "Statue of Liberty",
         "Tokyo tower", "shinto shrine", "houses", "stadium"),
    ),
)  # fmt: skip
COUNTABLE = ("animal", "food", "vehicle", "instrument")  # things that are drawn alone, without a background


def things(kinds: tuple[str, ...] = ()) -> str:
    """SQL for the drawings (rows of `pictures` with a style) of these categories, or of all; adds thing, thing_words,
    thing_many.
    """
    chosen = [kind for kind in CATEGORIES if not kinds or kind.name in kinds]
    subgroups = [f"({literal(subgroup)}, {kind.row})" for kind in chosen for subgroup in kind.subgroups]
    groups = [f"({literal(kind.group)}, {kind.row})" for kind in chosen if kind.group]
    left_out = literals(concept for kind in CATEGORIES for concept in kind.but)
    return f"""
        select p.*, coalesce(s.name, g.name) as thing, coalesce(s.words, g.words) as thing_words,
               coalesce(s.many, g.many) as thing_many
        from (select *, attributes ->> '$.subgroup' as subgroup from pictures) p
        left join (values {", ".join(subgroups)}) s(subgroup, name, words, many) on s.subgroup = p.subgroup
        left join (values {", ".join(groups)}) g(grp, name, words, many) on g.grp = p."group" and p.subgroup is null
        where p.style is not null and p.caption <> '' and p.family is not null
          and p.concept not in ({left_out}) and coalesce(s.name, g.name) is not null"""
