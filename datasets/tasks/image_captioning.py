"""Picture -> words."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

BOTH = (
    ("What does this picture show? [query]", "{caption}"),
    ("[query] Describe this.", "{caption}"),
    ("Give this picture a caption: [query]", "{caption}"),
    ("Look at [query] and name what you see.", "{caption}"),
)
STYLED = (
    ("What is this, and in which style is it drawn? [query]", "{caption}, drawn in the {style} style"),
    ("[query] Name the subject and the style.", "Subject: {caption}. Style: {style}."),
)


def candidates(options: dict) -> str:
    return """select asset_id as key, if(style is null, 'plain', 'styled') as kind, coalesce(style, corpus) as balance,
                     split, holdout, caption as word_caption, style as word_style, asset_id as slot_query,
                     concept as meta_concept, family as meta_family, style as meta_style
              from pictures where caption <> ''"""


PLANNER = Planner(
    "image_captioning",
    "1",
    (
        *(Template(*turns, kind="plain") for turns in BOTH),
        *(Template(*turns, kind="styled") for turns in (*BOTH, *STYLED)),
    ),
    candidates,
)
