"""Text -> image, in English and in the other languages of the captions."""

from typing import Any

from codi2_datasets.planning.templates import Template
from codi2_datasets.tasks import Planner
from codi2_datasets.vocabulary.languages import DRAW, captioned

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
    return captioned("slot_target", options)


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
    choices={"languages": tuple(DRAW)},
)
