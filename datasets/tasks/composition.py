"""Several images -> the one image that combines them.

sum      emoji that Unicode itself combines: a woman and a rocket make an astronaut; with or without examples
named    the same, answered in words
three    a man, a woman and a girl make a family
placed   a drawing placed on a scene as the words say; `said` names the drawing, `two` places two of them
whole    a drawing made for its scene, at its own position
styled   the subject of one image in the style of another
cut      objects cut out of a captioned image, and its caption -> the image
"""

from codi2_datasets.planning.split_rules import joint_split
from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.scene_layout import overlay, scene_placements

TEMPLATES = {
    "sum": (
        ("[query] + [b] = ?", "[target]"),
        ("What do [query] and [b] make together?", "[target]"),
        ("Combine [query] with [b].", "Together they make this: [target]"),
        ("[query] [b] Make one picture of these two.", "[target]"),
        ("Join this one, [query], with this one: [b]", "[target]"),
        ("With [b] added, <demo>[demo_in] becomes [demo_out], </demo>so what does [query] become?", "[target]"),
        ("We add [b] to pictures. <demo>[demo_in] makes [demo_out]. </demo>[query] makes what?", "[target]"),
        ("<demo>[demo_in] -> [demo_out]\n</demo>The same thing, [b], is always added. [query] ->", "[target]"),
    ),
    "named": (
        ("[query] + [b] = ? Answer in words.", "{caption}"),
        ("What do [query] and [b] stand for together?", "{caption}"),
        ("[query] [b] Put together, these mean what?", "{caption}"),
        ("Name what comes of joining [query] and [b].", "{caption}"),
    ),
    "three": (
        ("[a] + [b] + [c] = ?", "[target]"),
        ("Put [a], [b] and [c] into one picture.", "[target]"),
        ("[a] [b] [c] What do these make together?", "[target]"),
        ("Combine [a] with [b] and [c].", "Here they are: [target]"),
    ),
    "placed": (
        ("Put [thing] on [scene], {place}.", "[made]"),
        ("[scene] [thing] Place the second picture on the first, {place}.", "[made]"),
        ("Add [thing] to the scene [scene]. It goes {place}.", "[made]"),
        ("Show me [scene] with [thing] {place}.", "[made]"),
        ("The scene: [scene] The thing: [thing] The place: {place}. Make one picture of it.", "Here it is: [made]"),
    ),
    "said": (
        ("Add this to [scene], {place}: {caption}", "[made]"),
        ("[scene] Put something on it, {place}. It should be this: {caption}", "[made]"),
        ("Show me [scene] with one more thing {place}: {caption}", "[made]"),
        ("Something is missing {place} of [scene], namely this: {caption}", "Now it is there: [made]"),
    ),
    "two": (
        ("Put [thing] on the left and [other] on the right of [scene].", "[made]"),
        ("[scene] Add two things: [thing] goes left, [other] goes right.", "[made]"),
        ("On [scene] I want [thing] on the left and [other] on the right.", "Like this: [made]"),
        ("[thing] [other] Place the first on the left and the second on the right of this scene: [scene]", "[made]"),
    ),
    "whole": (
        ("Add [thing] to [scene].", "[made]"),
        ("Where does [thing] belong in [scene]? Put it there.", "[made]"),
        ("[scene] Add this: {caption}", "[made]"),
        ("The scene [scene] wants this: [thing]", "Here it is: [made]"),
    ),
    "cut1": (
        ("{caption} Draw this with exactly this one: [e1]", "[target]"),
        ("This is {n1}: [e1] Make a picture with it: {caption}", "[target]"),
        ("[e1] Show it in this scene: {caption}", "[target]"),
        ("Make a picture of this: {caption} The {n1} looks like this: [e1]", "Here it is: [target]"),
    ),
    "cut2": (
        ("Put [e1] and [e2] into one picture: {caption}", "[target]"),
        ("This is {n1}: [e1] This is {n2}: [e2] Make a picture of both: {caption}", "[target]"),
        ("[e1] [e2] Show them in this scene: {caption}", "Here they are: [target]"),
    ),
    "cut3": (
        ("Put [e1], [e2] and [e3] into one picture: {caption}", "[target]"),
        ("These are {n1}, {n2} and {n3}: [e1] [e2] [e3] Make a picture of all: {caption}", "[target]"),
        ("[e1] [e2] [e3] Show them in this scene: {caption}", "Here they are: [target]"),
    ),
    "styled": (
        ("Draw [query] in the style of [ref].", "[target]"),
        ("[query] [ref] Take the subject of the first picture and the style of the second.", "[target]"),
        ("This is the style: [ref] This is the subject: [query] Make a picture of both.", "[target]"),
        ("What would [query] look like if it were drawn like [ref]?", "It would look like this: [target]"),
    ),
}

# the last character of a combined emoji determines the change to the rest
ADDED = """case when b.hexcode in ('2640', '2642') then 'gender' when b.hexcode = '27a1' then 'direction'
                when b.hexcode between '1f3fb' and '1f3ff' then 'tone'
                when b.hexcode between '1f9b0' and '1f9b3' then 'hair'
                when a."group" = 'people-body' then 'role' else 'thing' end"""
META = "t.concept as meta_concept, t.family as meta_family, t.style as meta_style"


def sums() -> str:
    """SQL with `drawn` and `joints`: t is a and b; b is the last character of its sequence, a is the emoji before it."""
    split, holdout = joint_split(["t", "a", "b"], targets=["t"])
    return f"""
        drawn as (
            select *, attributes ->> '$.hexcode' as hexcode from pictures
            where style is not null and caption <> '' and (attributes ->> '$.hexcode') is not null),
        joints as (
            select t.asset_id as target, a.asset_id as a, b.asset_id as b, a.concept as base, {ADDED} as added,
                   b.concept as adding, t.caption, {split} as split, {holdout} as holdout, {META}
            from drawn t
            join drawn a on a.style = t.style and a.hexcode = regexp_replace(t.hexcode, '-[0-9a-f]+$', '')
            join drawn b on b.style = t.style and b.hexcode = regexp_extract(t.hexcode, '-([0-9a-f]+)$', 1)
            where contains(t.hexcode, '-') and b."group" <> '' and a.near <> t.near)"""


def threes() -> str:
    """SQL: emoji of three characters, each of which has its own drawing."""
    split, holdout = joint_split(["t", "a", "b", "c"], targets=["t"])
    return f"""
        select 'three' || t.asset_id as key, 'three' as kind, 'three' as balance, {split} as split,
               {holdout} as holdout, 'three' || t.asset_id as relation, t.family, a.asset_id as slot_a,
               b.asset_id as slot_b, c.asset_id as slot_c, t.asset_id as slot_target, {META}
        from (select *, string_split(hexcode, '-') as signs from drawn) t
        join drawn a on a.style = t.style and a.hexcode = t.signs[1]
        join drawn b on b.style = t.style and b.hexcode = t.signs[2]
        join drawn c on c.style = t.style and c.hexcode = t.signs[3]
        where len(t.signs) = 3 and a."group" = 'people-body' and c."group" = 'people-body' and ({split}) is not null"""


def wholes() -> str:
    split, holdout = joint_split(["s", "t"])
    return f"""
        select 'whole' || s.asset_id || t.asset_id as key, 'whole' as kind, 'whole' as balance, {split} as split,
               {holdout} as holdout, 'whole' || s.asset_id || t.asset_id as relation, t.family,
               t.caption as word_caption, s.asset_id as slot_scene, t.asset_id as slot_thing,
               {{'op': 'overlay', 'params': json_object('whole', true)::varchar, 'inputs': [s.asset_id, t.asset_id]}}
                   as derive_made, {META}
        from (select *, attributes ->> '$.scene' as scene from pictures where kind = 'scene') s
        join (select *, attributes ->> '$.scene' as scene from pictures where kind = 'overlay' and caption <> '') t
            on t.scene = s.scene and t.corpus = s.corpus
        where fusable(s.licence, t.licence) and ({split}) is not null"""


def cut_out() -> str:
    """SQL: captioned images with the objects listed in their row (attribute entities: name, mask)."""
    made = ", ".join(
        f"""if(len(things) < {n}, null, {{'op': 'cut', 'params': json_object('mask', things[{n}].mask)::varchar,
            'inputs': [asset_id]}}) as derive_e{n}, things[{n}].name as word_n{n}"""
        for n in (1, 2, 3)
    )
    return f"""
        select 'cut' || asset_id as key, 'cut' || least(len(things), 3) as kind, 'cut' as balance, split, holdout,
               'cut' || asset_id as relation, coalesce(family, asset_id) as family, caption as word_caption, {made},
               asset_id as slot_target, concept as meta_concept, family as meta_family, 'cut' as meta_relation
        from (select *, from_json(attributes -> '$.entities', '[{{"name": "VARCHAR", "mask": "VARCHAR"}}]') as things
              from pictures where caption <> '' and contains(attributes, '"entities": ') and not contains(licence, '-ND-'))
        where len(things) > 0"""


ONE, BOTH = overlay({"thing": "x, y"}), overlay({"thing": "0.25, 0.6", "other": "0.75, 0.6"})
OWN = "concept as meta_concept, family as meta_family, style as meta_style"
TABLES = f"""
    {sums()}, {scene_placements()},
    hands as (  -- works to show a style by; flags and signs look alike in all
        select asset_id as ref, family as ref_family, style, split, holdout, md5_number_lower(asset_id) // 4 as h
        from pictures where style is not null and "group" not in ('flags', 'symbols'))"""
CANDIDATES = {
    "sum": """
        select 'sum' || target as key, 'sum' as kind, 'sum ' || added as balance, split, holdout,
               'adds ' || adding as relation, base as family, a as slot_query, b as slot_b, target as slot_target,
               meta_concept, meta_family, meta_style, added as meta_relation
        from joints where split is not null""",
    "named": """
        select 'named' || target as key, 'named' as kind, 'named' as balance, split, holdout,
               'named' || target as relation, base as family, a as slot_query, b as slot_b, caption as word_caption,
               meta_concept, meta_family, meta_style, added as meta_relation
        from joints where split is not null and added in ('role', 'thing')""",
    "three": threes(),
    "placed": f"""
        select 'placed' || scene || thing as key, if(h[9] < '5', 'said', 'placed') as kind, kind as balance,
               split, holdout,
               'placed' || scene || thing as relation, family, caption as word_caption,
               place as word_place, scene as slot_scene, thing as slot_thing, {ONE} as derive_made, {OWN}
        from put""",
    "two": f"""
        select 'two' || scene || thing as key, 'two' as kind, 'two' as balance, split, holdout,
               'two' || scene || thing as relation, family, scene as slot_scene, thing as slot_thing,
               other as slot_other, {BOTH} as derive_made, {OWN}
        from put where other_family <> family and fusable(licence, other_licence)""",
    "cut": cut_out(),
    "whole": wholes(),
    "styled": """
        select 'styled' || e.query || e.target as key, 'styled' as kind, 'styled' as balance, e.split, e.holdout,
               'styled' || e.query || e.target as relation, e.family, e.query as slot_query, r.ref as slot_ref,
               e.target as slot_target, e.concept as meta_concept, e.family as meta_family, e.style as meta_style
        from edits e asof join hands r on r.style = e.style and r.split = e.split and r.holdout = e.holdout
             and md5_number_upper(e.query || e.target) // 4 <= r.h
        where e.kind = 'style' and r.ref_family <> e.family and not e.alike
        qualify row_number() over (partition by e.target order by md5(e.query || e.target)) <= 2""",
}

PLANNER = Planner(
    "composition",
    "1",
    phrasings(TEMPLATES),
    CANDIDATES,
    Columns(
        words=("caption", "place", "n1", "n2", "n3"),
        media=("query", "target", "a", "b", "c", "scene", "thing", "other", "ref"),
        derived=("made", "e1", "e2", "e3"),
        meta=("concept", "family", "style", "relation"),
    ),
    tables=TABLES,
    options={"min_demos": 0, "max_demos": 3, "pairing": "relation"},
    demos=True,
)
