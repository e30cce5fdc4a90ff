"""Text -> audio, including speech."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.captions import captioned_rows

SOUND = (
    ("Make this sound: {caption}.", "[target]"),
    ("Let me hear {caption}.", "[target]"),
    ("Create an audio clip of {caption}.", "Here it is: [target]"),
    ("Sound effect: {caption}", "[target]"),
    ("What does this sound like: {caption}?", "[target]"),
    ("I need a recording. It should be: {caption}.", "[target]"),
    ("Play {caption}", "[target]"),
    ('Generate audio that matches "{caption}".', "[target]"),
)
SPEECH = (
    ("Say aloud: {caption}", "[target]"),
    ("Read this to me: {caption}", "[target]"),
    ("Speak these words: {caption}", "[target]"),
    ("How does it sound when someone says \"{caption}\"?", "[target]"),
)  # fmt: skip

CANDIDATES = f"""select said_key as key, if(kind = 'speech', 'speech', 'sound') as kind, corpus || kind as balance, split,
                     holdout, caption as word_caption, asset_id as slot_target, concept as meta_concept,
                     family as meta_family
              from {captioned_rows("sounds")}"""

PLANNER = Planner(
    "text_to_audio",
    "1",
    phrasings({"sound": SOUND, "speech": SPEECH}),
    {"": CANDIDATES},
    Columns(words=("caption",), media=("target",)),
)
