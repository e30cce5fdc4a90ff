"""Image -> caption, in English and in the other languages of the captions."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Planner
from codi2_datasets.vocabulary.languages import NAME, captioned, captioned_columns

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

PLANNER = Planner(
    "image_captioning",
    "2",
    phrasings(
        {
            "plain": BOTH,
            "styled": (*BOTH, *STYLED),
            **{language: [(said, "{caption}") for said in phrases] for language, phrases in NAME.items()},
        }
    ),
    captioned("query"),
    captioned_columns("query"),
    options={"languages": []},
    choices={"languages": tuple(NAME)},
)
