"""Image -> the sound of what it shows."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.audio_visual_pairs import AUDIO_VISUAL_PAIRS

TEMPLATES = (
    ("What does this sound like? [query]", "[target]"),
    ("[query] Let me hear it.", "[target]"),
    ("Look at [query] and make the sound of it.", "Here it is: [target]"),
    ("Which sound belongs to this picture? [query]", "[target]"),
    ("This is where I was: [query]. What did I hear?", "[target]"),
)

CANDIDATES = f"""select picture || sound as key, '' as kind, corpus as balance, split, holdout, picture as slot_query,
                      sound as slot_target, concept as meta_concept, family as meta_family from ({AUDIO_VISUAL_PAIRS})"""

PLANNER = Planner(
    "image_to_audio", "1", phrasings({"": TEMPLATES}), {"": CANDIDATES}, Columns(media=("query", "target"))
)
