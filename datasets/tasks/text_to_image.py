"""Words -> picture."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

STYLED = (
    ("Draw {caption} in the {style} style.", "[target]"),
    ("Create a picture: {caption}, {style} style.", "[target]"),
    ("I would like a {style} drawing of this: {caption}.", "[target]"),
    ("{style} emoji of {caption}", "Here it is: [target]"),
    ("Please show me {caption} the way {style} draws it.", "[target]"),
)
PLAIN = (
    ("Make a picture of this: {caption}", "[target]"),
    ("Draw what this says: {caption}", "[target]"),
    ("{caption} Show me.", "Here it is: [target]"),
)


def candidates(options: dict) -> str:
    return """select asset_id as key, if(style is null, 'plain', 'styled') as kind, coalesce(style, corpus) as balance,
                     split, holdout, caption as word_caption, style as word_style, asset_id as slot_target,
                     concept as meta_concept, family as meta_family, style as meta_style
              from pictures where caption <> ''"""


PLANNER = Planner(
    "text_to_image",
    "1",
    (*(Template(*turns, kind="styled") for turns in STYLED), *(Template(*turns, kind="plain") for turns in PLAIN)),
    candidates,
)
