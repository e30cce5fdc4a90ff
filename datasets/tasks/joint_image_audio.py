"""Text -> an image and its sound, in one reply."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.audio_visual_pairs import AUDIO_VISUAL_PAIRS

TEMPLATES = (
    ("Generate the sound and the image for this: {words}", "[image] [sound]"),
    ("{words} Show me, and let me hear it.", "[image] And this is how it sounds: [sound]"),
    ("Picture and sound, please. {words}", "[image][sound]"),
    ("First the sound, then the picture: {words}", "[sound] [image]"),
    ("Let me hear and see this: {words}", "It sounds like this: [sound] It looks like this: [image]"),
)

CANDIDATES = f"""select picture || sound as key, '' as kind, corpus as balance, split, holdout, words as word_words,
                      picture as slot_image, sound as slot_sound, concept as meta_concept, family as meta_family
               from ({AUDIO_VISUAL_PAIRS})"""

PLANNER = Planner(
    "joint_image_audio",
    "1",
    phrasings({"": TEMPLATES}),
    {"": CANDIDATES},
    Columns(words=("words",), media=("image", "sound")),
)
