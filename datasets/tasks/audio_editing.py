"""Sound and instruction -> a sound added, removed or replaced. Mixtures of real clips, so that the target is exact."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

TEMPLATES = {
    "add": (
        ("Add this sound to [query]: {sound}.", "[target]"),
        ("[query] Mix in {sound}.", "[target]"),
        ("Overlay {sound} on the audio [query].", "Done: [target]"),
    ),
    "remove": (
        ("Remove this sound from [query]: {sound}.", "[target]"),
        ("[query] Take out {sound}.", "[target]"),
        ("I do not want {sound} in [query].", "Without it: [target]"),
    ),
    "replace": (
        ("In [query], replace {sound} with {other}.", "[target]"),
        ("[query] Instead of {sound} I want {other}.", "[target]"),
        ("Swap {sound} for {other} in the audio [query].", "[target]"),
    ),
}
GAIN = 0.5  # of every clip, in every mixture: two clips never clip, and what is added can be taken away exactly
START = "[0.0, 0.25, 0.5][1 + (md5_number_upper(a.asset_id || b.asset_id) % 3)::integer]"  # seconds


def candidates(options: dict) -> str:
    def mix(*clips: str) -> str:
        offsets = ", ".join("0.0" if clip == "a" else START for clip in clips)
        params = f"""json_object('gains', [{", ".join([str(GAIN)] * len(clips))}], 'offsets', [{offsets}])::varchar"""
        inputs = ", ".join(f"{clip}.asset_id" for clip in clips)
        return f"{{'op': 'mix', 'params': {params}, 'inputs': [{inputs}]}}"

    def edit(kind: str, query: str, target: str) -> str:
        return f"""select '{kind}' || a.asset_id || b.asset_id as key, '{kind}' as kind, '{kind}' as balance,
                   a.split, a.holdout, b.words as word_sound, c.words as word_other,
                   {query} as derive_query, {target} as derive_target,
                   b.concept as meta_concept, b.family as meta_family, '{kind}' as meta_relation
            from clips a join clips b on a.split = b.split and a.family <> b.family
            join clips c on c.split = a.split
                and c.n = md5_number_lower(a.asset_id || b.asset_id) % a.size and c.family not in (a.family, b.family)
            where not (a.speech and b.speech) and fusable(a.licence, b.licence) and fusable(a.licence, c.licence)"""

    return f"""with clips as (
                   select *, kind = 'speech' as speech,
                          if(kind = 'speech', 'a voice that says "' || caption || '"', caption) as words, count(*) over (partition by split) as size,
                          row_number() over (partition by split order by asset_id) - 1 as n
                   from sounds where caption <> '')
               {edit("add", mix("a"), mix("a", "b"))} union all by name
               {edit("remove", mix("a", "b"), mix("a"))} union all by name
               {edit("replace", mix("a", "b"), mix("a", "c"))}"""


PLANNER = Planner(
    "audio_editing",
    "2",
    tuple(Template(*turns, kind=kind) for kind, said in TEMPLATES.items() for turns in said),
    candidates,
)
