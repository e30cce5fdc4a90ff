"""Audio -> an image of its source."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.audio_visual_pairs import AUDIO_VISUAL_PAIRS

TEMPLATES = (
    ("What makes this sound? Draw it. [query]", "[target]"),
    ("[query] Show me what this is.", "[target]"),
    ("Listen to [query] and make a picture of it.", "Here it is: [target]"),
    ("Which picture belongs to this sound? [query]", "[target]"),
    ("I heard [query]. What would I have seen?", "[target]"),
)

CANDIDATES = f"""select picture || sound as key, '' as kind, corpus as balance, split, holdout, sound as slot_query,
                      picture as slot_target, concept as meta_concept, family as meta_family from ({AUDIO_VISUAL_PAIRS})"""

PLANNER = Planner(
    "audio_to_image", "1", phrasings({"": TEMPLATES}), {"": CANDIDATES}, Columns(media=("query", "target"))
)
