"""Text -> video; and image animation: a still drawing of a thing -> the thing moving."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

WORDS = (
    ("Make a short video of this: {caption}", "[target]"),
    ("Animate {caption}.", "[target]"),
    ("I would like a clip that shows {caption}.", "Here it is: [target]"),
    ("Show me {caption}, moving.", "[target]"),
)
PICTURE = (
    ("Bring this picture to life: [query]", "[target]"),
    ("[query] Make it move.", "[target]"),
    ("Turn the still picture [query] into a short video.", "Here it is: [target]"),
    ("Create a video of what you see in [query].", "[target]"),
)

# one drawing per concept, chosen by hash, because videos are few
CANDIDATES = """select asset_id as key, 'words' as kind, 'words' as balance, split, holdout, caption as word_caption,
                     null as slot_query, asset_id as slot_target, concept as meta_concept, family as meta_family
              from clips where caption <> ''
              union all by name
              select c.asset_id || '<' || p.asset_id as key, 'picture' as kind, 'picture' as balance, c.split, c.holdout,
                     c.caption as word_caption, p.asset_id as slot_query, c.asset_id as slot_target,
                     c.concept as meta_concept, c.family as meta_family
              from clips c join pictures p on p.concept = c.concept and p.split = c.split and p.holdout = c.holdout
              qualify row_number() over (partition by c.asset_id order by md5(c.asset_id || p.asset_id)) <= 3"""

PLANNER = Planner(
    "text_to_video",
    "1",
    phrasings({"words": WORDS, "picture": PICTURE}),
    {"": CANDIDATES},
    Columns(words=("caption",), media=("query", "target")),
)
