"""Audio and instruction -> edited audio: a sound added, removed or replaced, or an effect applied.

The target is exact: mixtures are made of real recordings, effects are computed. The edit is requested in words, or
shown on other audio ('we overlaid a new sound to this and got that; apply this same new sound to ...').
"""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

MIXED = {
    "add": (
        ("Add this sound to [query]: {sound}.", "[target]"),
        ("[query] Mix in {sound}.", "[target]"),
        ("Overlay {sound} on the audio [query].", "Done: [target]"),
        ("<demo>We overlaid a new sound to [demo_in] and got [demo_out]. </demo>Apply this same new sound to [query].",
         "[target]"),
    ),
    "remove": (
        ("Remove this sound from [query]: {sound}.", "[target]"),
        ("[query] Take out {sound}.", "[target]"),
        ("I do not want {sound} in [query].", "Without it: [target]"),
        ("<demo>From [demo_in] we took one sound out and got [demo_out]. </demo>Take the same sound out of [query].",
         "[target]"),
    ),
    "replace": (
        ("In [query], replace {sound} with {other}.", "[target]"),
        ("[query] Instead of {sound} I want {other}.", "[target]"),
        ("Swap {sound} for {other} in the audio [query].", "[target]"),
        ("<demo>In [demo_in] one sound was replaced: [demo_out]. </demo>Replace it in the same way here: [query]",
         "[target]"),
    ),
}  # fmt: skip
EFFECTS = {
    "echo": (("Add echoing to the audio [query].", "[target]"), ("[query] Let it echo.", "With echoes: [target]")),
    "reverse": (("Play [query] backwards.", "[target]"), ("[query] Reverse it.", "[target]")),
    "faster": (("Play [query] faster.", "[target]"), ("[query] Speed it up.", "[target]")),
    "slower": (("Play [query] slower.", "[target]"), ("[query] Slow it down.", "[target]")),
    "higher": (("Raise the pitch of [query].", "[target]"), ("[query] The same, but higher.", "[target]")),
    "lower": (("Lower the pitch of [query].", "[target]"), ("[query] The same, but lower.", "[target]")),
    "quieter": (("Make [query] quieter.", "[target]"), ("[query] Turn the volume down.", "[target]")),
    "louder": (("Make [query] louder.", "[target]"), ("[query] Turn the volume up.", "[target]")),
    "first half": (("Keep only the first half of [query].", "[target]"), ("[query] Cut off the second half.", "[target]")),
    "second half": (("Keep only the second half of [query].", "[target]"), ("[query] Cut off the first half.", "[target]")),
}  # fmt: skip
SHOWN = (
    ("<demo>[demo_in] became [demo_out]. </demo>Now do it to [query].", "[target]"),
    ("<demo>Before: [demo_in] After: [demo_out]\n</demo>Before: [query] After:", "[target]"),
)
DONE = {  # operator and parameters of each effect; 'louder' has the original as target and a quieter version as query
    "echo": ("echo", "'delay', 0.25, 'decay', 0.5, 'repeats', 3"),
    "reverse": ("reverse", ""),
    "faster": ("speed", "'factor', 1.75"),
    "slower": ("speed", "'factor', 0.6"),
    "higher": ("pitch", "'semitones', 5"),
    "lower": ("pitch", "'semitones', -5"),
    "quieter": ("gain", "'factor', 0.25"),
    "louder": ("gain", "'factor', 0.25"),
    "first half": ("trim", "'start', 0.0, 'end', 0.5"),
    "second half": ("trim", "'start', 0.5, 'end', 1.0"),
}
GAIN = 0.5  # of every track in every mixture: two tracks never clip, and an added one can be removed exactly
START = "[0.0, 0.25, 0.5][1 + (md5_number_upper(b) % 3)::integer]"  # seconds; the same for one sound every time, so that examples determine it
PARTNERS = 6  # sounds that each sound is mixed with


def mix(*clips: str) -> str:
    offsets = ", ".join("0.0" if clip == "a" else START for clip in clips)
    params = f"json_object('gains', [{', '.join([str(GAIN)] * len(clips))}], 'offsets', [{offsets}])::varchar"
    return f"{{'op': 'mix', 'params': {params}, 'inputs': [{', '.join(clips)}]}}"


def mixed(kind: str, query: str, target: str) -> str:
    other = "other_words" if kind == "replace" else "null"
    return f"""select '{kind}' || a || b as key, '{kind}' as kind, '{kind}' as balance, split, holdout,
                      '{kind}' || b as relation, family, sound_words as word_sound, {other} as word_other,
                      {query} as derive_query, {target} as derive_target,
                      concept as meta_concept, sound_family as meta_family, '{kind}' as meta_relation
               from partners where {"other_family not in (family, sound_family)" if kind == "replace" else "true"}"""


def effect(kind: str) -> str:
    op, params = DONE[kind]
    made = f"{{'op': '{op}', 'params': json_object({params})::varchar, 'inputs': [asset_id]}}"
    query, target = ("derive_query", "slot_target") if kind == "louder" else ("slot_query", "derive_target")
    enough = "duration_s >= 0.6" if kind.endswith("half") else "true"
    return f"""select '{kind}' || asset_id as key, '{kind}' as kind, '{kind}' as balance, split, holdout,
                      '{kind}' as relation, family, {made} as {"derive_query" if kind == "louder" else "derive_target"},
                      asset_id as {target if kind == "louder" else query}, concept as meta_concept,
                      family as meta_family, '{kind}' as meta_relation
               from clips where {enough}"""


MIXTURES = {
    "add": (mix("a"), mix("a", "b")),
    "remove": (mix("a", "b"), mix("a")),
    "replace": (mix("a", "b"), mix("a", "c")),
}
# Sounds are placed on a ring by hash; the partners of each are at the hashes of its own id and a number.
TABLES = f"""
    clips as (
        select *, kind = 'speech' as speech, md5_number_lower(asset_id) // 4 as h,
               if(kind = 'speech', 'a voice that says "' || caption || '"', caption) as words
        from sounds where caption <> '' and family is not null),
    places as (
        select b.*, n, md5_number_lower(b.asset_id || n) // 4 as place,
               md5_number_upper(b.asset_id) // 4 as other_place
        from clips b, range({PARTNERS}) r(n)),
    partners as (
        select b.asset_id as b, a.asset_id as a, c.asset_id as c, b.split, b.holdout, a.family,
               b.family as sound_family, c.family as other_family, b.concept, b.words as sound_words,
               c.words as other_words
        from places b
        asof join clips a on a.split = b.split and a.holdout = b.holdout and b.place <= a.h
        asof join clips c on c.split = b.split and c.holdout = b.holdout and b.other_place <= c.h
        where a.family <> b.family and not (a.speech and b.speech) and fusable(a.licence, b.licence)
          and fusable(a.licence, c.licence)
        qualify row_number() over (partition by b.asset_id, a.asset_id order by n) = 1)"""

PLANNER = Planner(
    "audio_editing",
    "3",
    phrasings({kind: (*said, *SHOWN) for kind, said in {**MIXED, **EFFECTS}.items()}),
    {**{kind: mixed(kind, *made) for kind, made in MIXTURES.items()}, **{kind: effect(kind) for kind in EFFECTS}},
    Columns(
        words=("sound", "other"),
        media=("query", "target"),
        derived=("query", "target"),
        meta=("concept", "family", "relation"),
    ),
    tables=TABLES,
    options={"kinds": [*MIXED, *EFFECTS], "min_demos": 0, "max_demos": 3, "pairing": "relation"},
    demos=True,
)
