"""Conversations that change a medium step by step.

edits    a drawing is requested, or shown, and then changed: attributes that its corpus declares, two or three times; in
         some, a question about it comes between
scenes   a drawing is placed on a scene, then another, then the first is removed
sounds   a sound is played, another is added, and the first is removed again
told     an image changed two or three times, as described by a corpus of edits; or a corpus's conversation about one
recall   at the end, what an earlier turn changed or removed is brought back: the first drawing, the one before the last
         change, the thing on the scene, or the sound. The truth is that medium itself

Option `kinds` selects from these.
"""

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.templates import Template
from codi2_datasets.planning.text_links import media_of_turns
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.scene_layout import overlay, scene_placements
from codi2_storage.catalog.sql import literal

DRAWN = (
    ("Draw this in the {style} style: {caption}", "[step0]"),
    ("Please make a picture of this in {style} style: {caption}", "Here it is: [step0]"),
    ("I need a picture. Style: {style}. Subject: {caption}.", "[step0]"),
    ("Can you draw the following the way {style} would? {caption}", "Of course: [step0]"),
)
SHOWN = (
    ("This is my picture: [step0] {ask1}", "[step1]"),
    ("[step0] {ask1}", "Done: [step1]"),
    ("I have this picture and want to change it: [step0] {ask1}", "Here is the new one: [step1]"),
    ("{ask1} Here is what you start from: [step0]", "[step1]"),
)
STEPS = {n: (f"{{ask{n}}}", f"[step{n}]") for n in (1, 2, 3)}
QUESTION = ("{question}", "{reply}")

SCENES = (
    ("Put [thing] on the left of this scene: [scene]", "[made1]", "Now add [other] on the right.", "[made2]",
     "Take the first one away again.", "[made3]"),
    ("[scene] Add this on the left: {caption}", "[made1]", "And this on the right: {other}", "[made2]",
     "I do not want the left one any more.", "Without it: [made3]"),
    ("Here is a scene, [scene], and here is a thing, [thing]. Place the thing on the left.", "Like this: [made1]",
     "[other] goes on the right.", "Both are there: [made2]", "Remove what is on the left.", "[made3]"),
    ("I want [thing] on the left of [scene].", "[made1]", "There is room on the right, for this: {other}", "[made2]",
     "Without the first one, please.", "[made3]"),
)  # fmt: skip
SOUNDS = (
    ("Let me hear this: {sound}.", "[heard1]", "Add this: {other}.", "[heard2]", "Now take the first one out again.",
     "[heard3]"),
    ("I need a recording. It should be: {sound}.", "Here it is: [heard1]", "Mix this into it: {other}.", "[heard2]",
     "And now without the first sound.", "[heard3]"),
    ("Play this: {sound}.", "[heard1]", "With this on top of it: {other}.", "Both together: [heard2]",
     "Keep only what was added.", "[heard3]"),
    ("[heard1] Add this sound to mine: {other}.", "[heard2]", "I no longer want my own sound in it.",
     "Then this is left: [heard3]"),
)  # fmt: skip

# how an earlier medium is asked for again, each after the opening in the same place
BACK = {
    "first": ("Show me the picture that we started with.", "Undo everything.", "I liked the original best. Bring it back.",
              "Go back to the very first picture."),
    "undo": ("Undo the last change.", "Go back one step.", "No, I liked it better before that. Bring it back.",
             "Give me back the picture from before this change."),
    "scenes": ("Put it back where it was.", "I miss it. Bring back what you removed.", "Undo the removal.",
               "No, both were better. Show me the two again."),
    "sounds": ("Put it back in.", "I miss it. Bring back the sound that you removed.", "Undo that: I want to hear both.",
               "Let me hear the two together again."),
}  # fmt: skip

TOLD = (
    ("[step0] [told1]", "[step1]"),
    ("[told1] [step0]", "Here you are: [step1]"),
    ("I want to change this picture, step by step: [step0] [told1]", "[step1]"),
)
ROUNDS = (2, 3, 4)  # of a conversation
TURNS = [f"turn{n}" for n in range(1, 2 * ROUNDS[-1] + 1)]
ASKS = ("[turn1]", "Let us talk. [turn1]", "I have a question. [turn1]")  # the media are within the turns
TALKS = ("[query] [turn1]", "[turn1] [query]", "Let us talk about this: [query] [turn1]")

GAIN = 0.5  # of each sound: two together never clip
PER_START = 2  # conversations that start with one drawing
META = "concept as meta_concept, family as meta_family"


def changes() -> str:
    """SQL for the CTEs `changes` (for each drawing one change of every kind, by hash, with its phrasing) and `chains`
    (two or three of them in sequence; last is null in the shorter ones).
    """
    phrases = ", ".join(
        f"({literal(name)}, {n}, {len(attribute.asks)}, {literal(words)})"
        for name, attribute in attributes().items()
        for n, words in enumerate(attribute.asks)
    )
    return f"""
        phrases(kind, n, total, phrase) as (values {phrases}),
        taken as (
            select * from edits where word is not null and not alike
            qualify row_number() over (partition by query, kind order by md5(query || target)) = 1),
        changes as (
            select t.*, replace(p.phrase, '{{x}}', t.word) as ask from taken t join phrases p
            on p.kind = t.kind and p.n = md5_number_upper(t.query || t.target) % p.total),
        pairs as (
            select a.query as work0, a.target as work1, b.target as work2, a.ask as ask1, b.ask as ask2,
                   a.kind || ' ' || b.kind as sort, a.style as style1, a.concept as concept1, a.split, a.holdout,
                   b.family, b.concept, b.style, b.kind as last_kind, a.kind as first_kind
            from changes a join changes b on b.query = a.target and b.split = a.split and b.holdout = a.holdout
            where b.target <> a.query and (a.kind <> b.kind or a.kind = 'style')
            qualify row_number() over (partition by a.query order by md5(a.query || b.kind || a.kind || b.target))
                <= {PER_START}),
        chains as (
            select p.* replace (coalesce(c.family, p.family) as family, coalesce(c.concept, p.concept) as concept,
                                coalesce(c.style, p.style) as style),
                   c.target as work3, c.ask as ask3
            from pairs p left join changes c on c.query = p.work2 and c.split = p.split and c.holdout = p.holdout
                 and c.kind <> p.last_kind and c.kind <> p.first_kind and c.target not in (p.work0, p.work1)
            qualify row_number() over (partition by p.work0, p.work1, p.work2 order by md5(p.work2 || c.target)) = 1)"""


def edits() -> str:
    """SQL: chains of changes. A drawing that is itself requested must be of the same split as the others."""
    whole = "w.split = c.split and w.holdout = c.holdout and md5_number_lower(work0 || work1) % 2 = 0"
    asked = "md5_number_upper(work1 || work2) % 3 = 0"
    named = "md5_number_upper(work2 || work1) % 2 = 0"
    return f"""
        select 'edits' || work0 || work1 || work2 as key,
               if({whole}, 'drawn', 'shown') || if(work3 is null, 2, 3) || if({asked}, ' asked', '') as kind,
               sort || if(work3 is null, 2, 3) as balance, c.split, c.holdout, w.caption as word_caption,
               w.style as word_style, ask1 as word_ask1, ask2 as word_ask2, ask3 as word_ask3,
               if({named}, 'What does it show now?', 'Which style is this?') as word_question,
               if({named}, concept1, style1) as word_reply, work0 as slot_step0, work1 as slot_step1,
               work2 as slot_step2, work3 as slot_step3, c.concept as meta_concept, c.family as meta_family,
               c.style as meta_style, sort as meta_relation
        from chains c join pictures w on w.asset_id = c.work0"""


def scenes() -> str:
    left, right = {"thing": "0.25, 0.6"}, {"other": "0.75, 0.6"}
    return f"""
        select 'scenes' || scene || thing as key, 'scenes' as kind, 'scenes' as balance, split, holdout,
               caption as word_caption, other_caption as word_other, scene as slot_scene, thing as slot_thing,
               other as slot_other, {overlay(left)} as derive_made1, {overlay({**left, **right})} as derive_made2,
               {overlay(right)} as derive_made3, {META}, style as meta_style
        from put where other_family <> family and fusable(licence, other_licence)"""


def mix(*sounds: str) -> str:
    """SQL struct of a mixture of columns; an added sound starts at its `starts` position, with or without the other."""
    offsets = ", ".join("0.0" if sound == "asset_id" else "starts" for sound in sounds)
    params = f"json_object('gains', [{', '.join([str(GAIN)] * len(sounds))}], 'offsets', [{offsets}])::varchar"
    return f"{{'op': 'mix', 'params': {params}, 'inputs': [{', '.join(sounds)}]}}"


def sounds() -> str:
    # each sound with the three that follow it by hash
    return f"""
        select 'sounds' || asset_id || other as key, 'sounds' as kind, 'sounds' as balance, split, holdout,
               caption as word_sound, other_caption as word_other, {mix("asset_id")} as derive_heard1,
               {mix("asset_id", "other")} as derive_heard2, {mix("other")} as derive_heard3, {META}
        from (
            select *, lead(asset_id, step) over w as other, lead(caption, step) over w as other_caption,
                   lead(family, step) over w as other_family, lead(licence, step) over w as other_licence,
                   [0.0, 0.25, 0.5][1 + (md5_number_upper(asset_id) % 3)::integer] as starts
            from (select * from sounds where kind is distinct from 'speech' and caption <> ''), range(1, 4) r(step)
            window w as (partition by step, split, holdout order by md5(asset_id), asset_id))
        where other_family <> family and fusable(licence, other_licence)"""


def recalls() -> str:
    """SQL: the conversations of `edits`, `scenes` and `sounds`, whose last turn brings an earlier medium back.

    What is brought back is a target, so it must be of the split of the sample.
    """
    return f"""
        select 'recall' || way || work0 || work1 || work2 as key, 'recall ' || way as kind, 'recall ' || way as balance,
               c.split, c.holdout, ask1 as word_ask1, ask2 as word_ask2, work0 as slot_step0, work1 as slot_step1,
               work2 as slot_step2, w.concept as meta_concept, w.family as meta_family, w.style as meta_style,
               'recall ' || way as meta_relation
        from chains c cross join (values ('first'), ('undo')) ways(way)
        join pictures w on w.asset_id = if(way = 'first', work0, work1) and w.split = c.split and w.holdout = c.holdout
        union all by name
        select * replace ('recall' || key as key, 'recall scenes' as kind, 'recall scenes' as balance),
               'recall scenes' as meta_relation from ({scenes()})
        union all by name
        select * replace ('recall' || key as key, 'recall sounds' as kind, 'recall sounds' as balance),
               'recall sounds' as meta_relation from ({sounds()})"""


def corpus_conversations() -> str:
    """SQL: consecutive edits, and conversations of several rounds, truncated after the number of rounds."""
    turns = ", ".join(f"turns[{n}] as text_{name}, asset_id as source_{name}" for n, name in enumerate(TURNS, 1))
    return f"""
        select 'told' || a.query || b.target || coalesce(c.target, '') as key,
               'told' || if(c.target is null, 2, 3) as kind, 'told' as balance, b.split, b.holdout,
               a.instruction as text_told1, b.instruction as text_told2, c.instruction as text_told3,
               a.told_by as source_told1, b.told_by as source_told2, c.told_by as source_told3,
               a.query as slot_step0, a.target as slot_step1, b.target as slot_step2, c.target as slot_step3,
               b.family as meta_family, 'told' as meta_relation
        from edits a join edits b on b.kind = 'told' and b.query = a.target and b.split = a.split
             and b.holdout = a.holdout and b.target <> a.query
        left join edits c on c.kind = 'told' and c.query = b.target and c.split = b.split and c.holdout = b.holdout
             and c.target not in (a.query, a.target)
        where a.kind = 'told'
        qualify row_number() over (partition by a.query, a.target, b.target order by md5(a.query || c.target)) = 1
        union all by name
        select 'talk' || asset_id as key, 'talk' || least(len(turns) // 2, {ROUNDS[-1]}) as kind, 'talk' as balance, split,
               holdout, media[1] as slot_query, {turns}, family as meta_family,
               'talk' as meta_relation
        from spoken where kind = 'conversation' and len(media) = 1 and len(turns) // 2 >= {ROUNDS[0]}
        union all by name
        select 'talk' || asset_id as key, 'asked' || least(len(turns) // 2, {ROUNDS[-1]}) as kind, 'talk' as balance,
               split, holdout, {turns}, {media_of_turns(len(TURNS))} as marks, family as meta_family, 'talk' as meta_relation
        from spoken where kind = 'interleaved' and len(turns) // 2 >= {ROUNDS[0]}"""


def templates() -> list[Template]:
    every = []
    for n in (2, 3):
        rest = [turn for step in range(2, n + 1) for turn in STEPS[step]]
        for asked, between in (("", ()), (" asked", QUESTION)):
            every += [Template(*first, *STEPS[1], *between, *rest, kind=f"drawn{n}{asked}") for first in DRAWN]
            every += [Template(*first, *between, *rest, kind=f"shown{n}{asked}") for first in SHOWN]
        later = [turn for step in range(2, n + 1) for turn in (f"[told{step}]", f"[step{step}]")]
        every += [Template(*first, *later, kind=f"told{n}") for first in TOLD]
    for rounds in ROUNDS:
        rest = [f"[turn{n}]" for n in range(2, 2 * rounds + 1)]
        every += [Template(opening, *rest, kind=f"talk{rounds}") for opening in TALKS]
        every += [Template(opening, *rest, kind=f"asked{rounds}") for opening in ASKS]
    every += [Template(*turns, kind="scenes") for turns in SCENES]
    every += [Template(*turns, kind="sounds") for turns in SOUNDS]
    for way, slot in (("first", "step0"), ("undo", "step1")):
        every += [
            Template(*first, *STEPS[2], back, f"[{slot}]", kind=f"recall {way}")
            for first, back in zip(SHOWN, BACK[way], strict=True)
        ]
    for way, said, slot in (("scenes", SCENES, "made2"), ("sounds", SOUNDS, "heard2")):
        every += [
            Template(*turns, back, f"[{slot}]", kind=f"recall {way}")
            for turns, back in zip(said, BACK[way], strict=True)
        ]
    return every


PLANNER = Planner(
    "multi_turn",
    "2",
    tuple(templates()),
    {
        "edits": edits(),
        "scenes": scenes(),
        "sounds": sounds(),
        "told": corpus_conversations(),
        "recall": recalls(),
    },
    Columns(
        words=("caption", "style", "ask1", "ask2", "ask3", "question", "reply", "other", "sound"),
        media=("step0", "step1", "step2", "step3", "scene", "thing", "other", "query"),
        derived=("made1", "made2", "made3", "heard1", "heard2", "heard3"),
        texts=("told1", "told2", "told3", *TURNS),
        sources=("told1", "told2", "told3", *TURNS),
        meta=("concept", "family", "style", "relation"),
        others=("marks",),
    ),
    tables=f"{changes()}, {scene_placements()}",
    options={"kinds": ["edits", "scenes", "told"]},
    opt_in=("recall",),
)
