"""What emoji differ in: style, skin tone, gender and direction; and those that are scenes."""

from __future__ import annotations

from codi2_datasets.corpora.attributes import Attribute
from codi2_datasets.corpora.support.emoji_names import TONES

PEOPLE = ("style", "family", "group")
ATTRIBUTES = (
    Attribute(
        name="style",
        same=("concept",),
        groups={
            **dict.fromkeys(("Fluent 3D", "Fluent flat", "Fluent animated"), "Fluent"),
            "Noto v1": "Noto",
            **dict.fromkeys(("OpenMoji black", "EmojiOne monotone", "Fluent high contrast"), "black and white"),
        },
        edits=(
            ("Turn [query] into {style} style.", "[target]"),
            ("[query] Redraw this the way {style} would.", "[target]"),
            ("Change the style of [query] to {style}.", "Here is the {style} version: [target]"),
            ("What would [query] look like in {style}?", "[target]"),
        ),
        asks=("Turn it into {x} style.", "I want it in {x} style.", "How would {x} draw it?", "Change the style to {x}."),
    ),
    Attribute(
        name="tone",
        same=("style", "base_concept"),
        values=tuple(str(n) for n in range(len(TONES) + 1)),
        neutral="0",
        words={"0": "yellow", **{str(n): name for name, n in TONES.items()}},
        edits=(
            ("Change the skin tone in [query] to {tone}.", "[target]"),
            ("[query] Make the skin {tone}.", "[target]"),
            ("Give the person in [query] a {tone} skin tone.", "[target]"),
        ),
        asks=("Change the skin tone to {x}.", "Make the skin {x}.", "The skin tone should be {x}.", "Give it a {x} skin tone."),
    ),
    Attribute(
        name="gender",
        same=(*PEOPLE, "tone", "direction"),
        words={word: word for word in ("man", "woman", "boy", "girl")},
        wordless=r"\b(men|women|people)\b|^(kiss|couple with heart|family)\b",
        edits=(
            ("Make the one in [query] a {gender}.", "[target]"),
            ("[query] The same, but a {gender}.", "[target]"),
            ("Replace the person in [query] with a {gender}.", "[target]"),
        ),
        asks=("Make it a {x}.", "Let it be a {x} instead.", "Show a {x} instead.", "I want a {x} there instead."),
    ),
    Attribute(
        name="direction",
        same=(*PEOPLE, "tone", "gender"),
        absent="left",
        edits=(
            ("Let [query] face {direction}.", "[target]"),
            ("[query] Turn the figure to the {direction}.", "[target]"),
            ("Make this face the {direction} side: [query]", "[target]"),
        ),
        asks=("Let it face {x}.", "Turn it to the {x}.", "It should face the {x} side.", "Make it look to the {x}."),
    ),
)  # fmt: skip

# emoji whose drawings fill their square, and the styles in which they do
SCENES = ("desert", "national park", "bridge at night", "cityscape", "cityscape at dusk", "foggy", "night with stars",
          "sunrise", "sunrise over mountains", "sunset", "milky way", "motorway")  # fmt: skip
SCENIC = ("EmojiOne", "Fluent", "Fluent 3D", "Fluent flat", "FxEmoji", "Noto", "Noto v1", "Twemoji")
