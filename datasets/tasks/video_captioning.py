"""Video -> caption."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

TEMPLATES = (
    ("What does this video show? [query]", "{caption}"),
    ("[query] Describe the clip.", "{caption}"),
    ("Give this clip a caption: [query]", "{caption}"),
    ("Watch [query] and name what you see.", "{caption}"),
    ("What is moving here? [query]", "{caption}"),
)

CANDIDATES = """select asset_id as key, '' as kind, corpus as balance, split, holdout, caption as word_caption,
                     asset_id as slot_query, concept as meta_concept, family as meta_family
              from clips where caption <> ''"""

PLANNER = Planner(
    "video_captioning", "1", phrasings({"": TEMPLATES}), {"": CANDIDATES}, Columns(words=("caption",), media=("query",))
)
