"""Image and instruction -> the edited image: style, skin tone, gender or direction, or an edit described by a corpus."""

from codi2_datasets.planning.edit_pairs import SAYABLE_GENDER
from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

TEMPLATES = {
    "style": (
        ("Turn [query] into {style} style.", "[target]"),
        ("[query] Redraw this the way {style} would.", "[target]"),
        ("Change the style of [query] to {style}.", "Here is the {style} version: [target]"),
        ("What would [query] look like in {style}?", "[target]"),
    ),
    "tone": (
        ("Change the skin tone in [query] to {tone}.", "[target]"),
        ("[query] Make the skin {tone}.", "[target]"),
        ("Give the person in [query] a {tone} skin tone.", "[target]"),
    ),
    "gender": (
        ("Make the one in [query] a {gender}.", "[target]"),
        ("[query] The same, but a {gender}.", "[target]"),
        ("Replace the person in [query] with a {gender}.", "[target]"),
    ),
    "direction": (
        ("Let [query] face {direction}.", "[target]"),
        ("[query] Turn the figure to the {direction}.", "[target]"),
        ("Make this face the {direction} side: [query]", "[target]"),
    ),
    "told": (
        ("[query] [instruction]", "[target]"),
        ("[instruction] [query]", "[target]"),
        ("Edit this picture: [query] This is what I want: [instruction]", "Here it is: [target]"),
        ("Here is my picture: [query] [instruction]", "Done: [target]"),
    ),
}


def candidates(options: dict) -> str:
    return f"""select query || '>' || target as key, kind, kind as balance, split, holdout, style as word_style,
                      tone_word as word_tone, gender as word_gender, direction as word_direction, instruction as text_instruction, told_by as source_instruction,
                      query as slot_query, target as slot_target, concept as meta_concept, family as meta_family,
                      style as meta_style, source_style as meta_source_style, relation as meta_relation
               from edits where kind <> 'gender' or {SAYABLE_GENDER}"""


PLANNER = Planner(
    "image_editing",
    "2",
    phrasings(TEMPLATES),
    candidates,
    Columns(
        words=("style", "tone", "gender", "direction"),
        media=("query", "target"),
        texts=("instruction",),
        sources=("instruction",),
        meta=("concept", "family", "style", "source_style", "relation"),
    ),
)
