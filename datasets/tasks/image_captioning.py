"""Picture -> words; in English, and in the languages that captions exist in."""

from typing import Any

from codi2_datasets.languages import NAME, translated
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


def candidates(options: dict[str, Any]) -> str:
    columns = """split, holdout, style as word_style, asset_id as slot_query, concept as meta_concept,
                 family as meta_family, style as meta_style"""
    english = f"""select asset_id as key, if(style is null, 'plain', 'styled') as kind,
                         coalesce(style, corpus) as balance, {columns}, 'en' as language, caption as word_caption
                  from pictures where caption <> ''"""
    if not options["languages"]:
        return english
    own = "asset_id || language as key, language as kind, language as balance"
    return f"{english} union all by name {translated(f'{own}, {columns}', options)}"


PLANNER = Planner(
    "image_captioning",
    "2",
    (
        *(Template(*turns, kind="plain") for turns in BOTH),
        *(Template(*turns, kind="styled") for turns in (*BOTH, *STYLED)),
        *(Template(said, "{caption}", kind=language) for language, phrases in NAME.items() for said in phrases),
    ),
    candidates,
    options={"languages": []},
)
