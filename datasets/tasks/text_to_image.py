"""Text -> image, in English and in the other languages of the captions."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Planner
from codi2_datasets.vocabulary.languages import DRAW, captioned, captioned_columns

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

PLANNER = Planner(
    "text_to_image",
    "2",
    phrasings(
        {
            "styled": STYLED,
            "plain": PLAIN,
            **{language: [(said, "[target]") for said in phrases] for language, phrases in DRAW.items()},
        }
    ),
    captioned("target"),
    captioned_columns("target"),
    options={"languages": []},
    choices={"languages": tuple(DRAW)},
)
