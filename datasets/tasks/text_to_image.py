"""Words -> picture; in English, and in the languages that captions exist in."""

from typing import Any

from codi2_datasets.languages import DRAW, translated
from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

STYLED = (
    ("Draw {caption} in the {style} style.", "[target]"),
    ("Create a picture: {caption}, {style} style.", "[target]"),
    ("I would like this drawn in {style} style: {caption}.", "[target]"),
    ("{style} emoji of {caption}", "Here it is: [target]"),
    ("Please show me {caption} the way {style} draws it.", "[target]"),
)
PLAIN = (
    ("Make a picture of this: {caption}", "[target]"),
    ("Draw what this says: {caption}", "[target]"),
    ("{caption} Show me.", "Here it is: [target]"),
)


def candidates(options: dict[str, Any]) -> str:
    columns = """split, holdout, style as word_style, asset_id as slot_target, concept as meta_concept,
                 family as meta_family, style as meta_style"""
    english = f"""select asset_id as key, if(style is null, 'plain', 'styled') as kind,
                         coalesce(style, corpus) as balance, {columns}, 'en' as language, caption as word_caption
                  from pictures where caption <> ''"""
    if not options["languages"]:
        return english
    own = "asset_id || language as key, language as kind, language as balance"
    return f"{english} union all by name {translated(f'{own}, {columns}', options)}"


PLANNER = Planner(
    "text_to_image",
    "2",
    (
        *(Template(*turns, kind="styled") for turns in STYLED),
        *(Template(*turns, kind="plain") for turns in PLAIN),
        *(Template(said, "[target]", kind=language) for language, phrases in DRAW.items() for said in phrases),
    ),
    candidates,
    options={"languages": []},
)
