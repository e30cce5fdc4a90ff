"""Audio -> caption or transcript, with or without examples."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.captions import captioned_rows

SOUND = (
    ("What do you hear? [query]", "[target]"),
    ("[query] Describe this sound.", "[target]"),
    ("Give this recording a caption: [query]", "[target]"),
    ("Listen to [query] and say what it is.", "[target]"),
    ("<demo>[demo_in] This is: [demo_out]. </demo>[query] And this?", "[target]"),
    ("<demo>Sound: [demo_in] Caption: [demo_out]\n</demo>Sound: [query] Caption:", "[target]"),
)
SPEECH = (
    ("What is said here? [query]", "[target]"),
    ("[query] Write down what you hear.", "[target]"),
    ("Transcribe [query]", "[target]"),
    ("<demo>[demo_in] says: [demo_out] </demo>[query] says:", "[target]"),
)

CANDIDATES = f"""select said_key as key, if(kind = 'speech', 'speech', 'sound') as kind, corpus as balance, split, holdout,
                     null::varchar as relation, coalesce(family, asset_id) as family, asset_id as slot_query,
                     caption as text_target, asset_id as source_asset, concept as meta_concept, family as meta_family
              from {captioned_rows("sounds")}"""

PLANNER = Planner(
    "audio_captioning",
    "1",
    phrasings({"sound": SOUND, "speech": SPEECH}),
    {"": CANDIDATES},
    Columns(media=("query",), texts=("target",), sources=("asset",)),
    options={"min_demos": 0, "max_demos": 3, "pairing": "task"},
    demos=True,
)
