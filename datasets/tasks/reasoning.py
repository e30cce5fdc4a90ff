"""Visual reasoning: continue a series, find the odd one out, complete an analogy, from images alone.

next       three drawings of a well-known order (clock faces, moons, numbers, ...), and the one after them
series     one drawing counted, rotated or growing, or the frames of a video, and what follows
sum, rest  a number of things and a number more, or fewer
odd        three images of one category and one of another
hand       three images in one style and one in another
analogy    a is to b as c is to ?: the same edit applied to another family
told       a corpus's question about several images, with its answer in words
"""

import json

from codi2_datasets.planning.split_rules import joint_split
from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.categories import CATEGORIES, COUNTABLE, things
from codi2_datasets.vocabulary.counting import in_rows
from codi2_datasets.vocabulary.style_groups import style_group
from codi2_storage.catalog.sql import case, literal, literals

TEMPLATES = {
    "next": (
        ("Given [a], [b] and [c], what comes next?", "[target]"),
        ("[a] [b] [c] Continue the sequence.", "[target]"),
        ("First [a], then [b], then [c]. And then?", "[target]"),
        ("What follows these? [a] [b] [c] Show it and name it.", "[target] {caption}"),
    ),
    "series": (
        ("Given [p], [q] and [r], what comes next?", "[made]"),
        ("[p] [q] [r] Continue the sequence.", "[made]"),
        ("First [p], then [q], then [r]. And then?", "[made]"),
        ("See how it goes on: [p] [q] [r] What is next?", "Next comes this: [made]"),
    ),
    "sum": (
        ("[p] + [q] = ?", "[made]"),
        ("Put what is in [p] and what is in [q] together.", "[made]"),
        ("I have [p] and get [q] as well. What do I have now?", "[made]"),
        ("[p] [q] Count both together and draw as many.", "Here they are: [made]"),
    ),
    "rest": (
        ("[p] - [q] = ?", "[made]"),
        ("I have [p] and give away [q]. What do I keep?", "[made]"),
        ("[p] Take away as many as here: [q] What is left?", "[made]"),
        ("Of [p], [q] are gone. Draw what remains.", "This is left: [made]"),
    ),
    "odd": (
        ("Which of these does not belong? [a] [b] [c] [d]", "[target]"),
        ("[a] [b] [c] [d] Three of these are of one kind. Show me the other one.", "[target]"),
        ("Find the odd one out among [a], [b], [c] and [d].", "It is this one: [target]"),
        ("Which one is odd, and why? [a] [b] [c] [d]", "[target] The others are {many}."),
        ("[a] [b] [c] [d] One of these is of another kind. Which?", "The {nth} one: [target]"),
    ),
    "hand": (
        ("Three of these were drawn by one hand: [a] [b] [c] [d] Which one was not?", "[target]"),
        ("[a] [b] [c] [d] Which one is drawn in another style?", "[target]"),
        ("By its style, which does not belong: [a], [b], [c] or [d]?", "The {nth} one: [target]"),
        ("Compare how [a], [b], [c] and [d] are drawn and show the one that differs.", "This one differs: [target]"),
    ),
    "analogy": (
        ("[a] is to [b] as [c] is to what?", "[target]"),
        ("If [a] becomes [b], what does [c] become?", "[target]"),
        ("[a] : [b] = [c] : ?", "[target]"),
        ("Do to [c] what was done from [a] to [b].", "[target]"),
    ),
}
PICTURES_TOLD = (2, 3, 4, 5)
for _n in PICTURES_TOLD:
    _shown = " ".join(f"[image{k}]" for k in range(1, _n + 1))
    TEMPLATES[f"told{_n}"] = (
        (f"{_shown} [question]", "[answer]"),
        (f"[question] {_shown}", "[answer]"),
        (f"Look at all of these, in their order: {_shown} [question]", "[answer]"),
    )
HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
# name -> the ordered items, the steps to use, and whether the order is cyclic
ORDERS = {
    "clock": ([name for hour in HOURS for name in (f"{hour} o’clock", f"{hour}-thirty")], (1, 2, 4, -2), True),
    "moon": (["new moon", "waxing crescent moon", "first quarter moon", "waxing gibbous moon", "full moon",
              "waning gibbous moon", "last quarter moon", "waning crescent moon"], (1,), True),
    "number": ([f"keycap: {n}" for n in range(11)], (1, 2, 3, -1, -2), False),
    "arrow": ([f"{where} arrow" for where in ("up", "up-right", "right", "down-right", "down", "down-left", "left",
               "up-left")], (1, 2, -1, -2), True),
    "cloud": (["sun", "sun behind small cloud", "sun behind cloud", "sun behind large cloud"], (1, -1), False),
    "volume": (["muted speaker", "speaker low volume", "speaker medium volume", "speaker high volume"], (1, -1), False),
    "hen": (["egg", "hatching chick", "baby chick", "chicken"], (1,), False),
}  # fmt: skip
RUNS = ((1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 6), (1, 3, 5, 7), (2, 4, 6, 8), (4, 3, 2, 1), (5, 4, 3, 2), (6, 5, 4, 3),
        (7, 5, 3, 1), (9, 7, 5, 3))  # fmt: skip
SUMS = [(n, m) for n in range(1, 7) for m in range(1, 5) if n + m <= 9]
META = "concept as meta_concept, family as meta_family, style as meta_style"


def turned(quarters: int) -> dict:
    return {"quarters": quarters}


# transformations of one drawing: name, derivation, parameters of the three shown and of the target
SERIES = [("count", "grid", [in_rows(n) for n in run]) for run in RUNS]
SERIES += [("turn", "rotate", [turned(way * n) for n in range(4)]) for way in (1, -1)]
SERIES += [("grow", "resize", [{"scale": s} for s in scales]) for scales in ((0.25, 0.45, 0.65, 0.85),
                                                                            (0.85, 0.65, 0.45, 0.25))]  # fmt: skip
FRAMES = [[{"at": start + n / 8} for n in range(4)] for start in (0.0, 0.25, 0.5)]
WAYS = {"count": 3, "turn": 1, "grow": 1}  # how many of its variants are used for each drawing, by hash


def sql(value: object) -> str:
    return literal(json.dumps(value))


def made(op: str, params: str) -> str:
    return f"{{'op': {op}, 'params': {params}, 'inputs': [asset_id]}}"


def order_tables() -> str:
    """SQL for the CTEs `steps` and `ordered`: drawings with their position n in their order; around is its length if it
    is cyclic, else 0.
    """
    places = ", ".join(
        f"({literal(order)}, {literal(name)}, {n}, {len(names) if around else 0})"
        for order, (names, _, around) in ORDERS.items()
        for n, name in enumerate(names)
    )
    steps = ", ".join(f"({literal(order)}, {step})" for order, (_, steps, _) in ORDERS.items() for step in steps)
    return f"""
        order_of(name, concept, n, around) as (values {places}),
        steps(name, step) as (values {steps}),
        ordered as (
            select p.*, o.name, o.n, o.around from pictures p join order_of o using (concept)
            where style is not null)"""


def sequences() -> str:
    """SQL: four drawings of one order in one style, a step apart."""
    split, holdout = joint_split(["a", "b", "c", "d"], targets=["d"])

    places = ", ".join(
        f"if(o.around > 0, (o.n + {n} * s.step + 3 * o.around) % o.around, o.n + {n} * s.step) as n{n}"
        for n in (1, 2, 3)
    )
    joins = " ".join(
        f"join ordered {x} on {x}.name = a.name and {x}.style = a.style and {x}.n = a.n{n}"
        for n, x in enumerate("bcd", 1)
    )
    return f"""
        select 'next' || a.asset_id || d.asset_id || a.step as key, 'next' as kind, 'next ' || a.name as balance,
               {split} as split, {holdout} as holdout, a.asset_id as slot_a, b.asset_id as slot_b,
               c.asset_id as slot_c, d.asset_id as slot_target, d.caption as word_caption,
               d.concept as meta_concept, d.family as meta_family, d.style as meta_style, a.name as meta_relation
        from (select o.*, s.step, {places} from ordered o join steps s on s.name = o.name) a {joins}
        where ({split}) is not null"""


def series() -> str:
    """SQL: one drawing in several variants, and frames of one video."""
    columns = "name, op, p, q, r, made"
    ways = ", ".join(f"({literal(name)}, {literal(op)}, {', '.join(map(sql, four))})" for name, op, four in SERIES)
    frames = ", ".join(f"('frames', 'frame', {', '.join(map(sql, four))})" for four in FRAMES)
    taken = case("w.name", [(name, str(number)) for name, number in WAYS.items()])
    shown = ", ".join(f"{made('w.op', f'w.{slot}')} as derive_{slot}" for slot in ("p", "q", "r", "made"))
    head = f"""select 'series' || asset_id || w.made || w.r as key, 'series' as kind, 'series ' || w.name as balance,
               split, holdout, {shown}, {META}, w.name as meta_relation"""
    return f"""
        {head} from countable, (values {ways}) w({columns})
        qualify row_number() over (
            partition by asset_id, w.name order by md5(asset_id || w.made || w.r)) <= {taken}
        union all by name
        {head} from clips, (values {frames}) w({columns}) where kind = 'animation'"""


def arithmetic(kind: str) -> str:
    """SQL: n things and m things make n + m ('sum'), or n + m minus n make m ('rest'): two per drawing, by hash."""
    sums = [(n, m) for n, m in SUMS if kind == "sum" or n != m]  # the remainder must differ from what was taken away
    rows = ", ".join(f"({n}, {m}, {', '.join(sql(in_rows(k)) for k in (n, m, n + m))})" for n, m in sums)
    slots = ("n", "m", "both") if kind == "sum" else ("both", "n", "m")
    shown = ", ".join(
        f"{made(literal('grid'), f'w.how_{what}')} as derive_{slot}"
        for slot, what in zip(("p", "q", "made"), slots, strict=True)
    )
    return f"""
        select '{kind}' || asset_id || w.n || '+' || w.m as key, '{kind}' as kind, '{kind}' as balance, split, holdout,
               {shown}, {META}, '{kind}' as meta_relation
        from countable, (values {rows}) w(n, m, how_n, how_m, how_both)
        qualify row_number() over (
            partition by asset_id order by md5('{kind}' || asset_id || w.n || '+' || w.m)) <= 2"""


def odd_tables() -> str:
    """SQL for the CTE `foursomes`: three drawings (asset_id, b, c) of one category and style, consecutive by hash, with
    an `other` of another category (sort 'odd') or of another style group (sort 'hand').
    """
    kinds = literals(kind.name for kind in CATEGORIES)
    other_kind = f"""list_filter([{kinds}], lambda k: k <> thing)
                     [1 + (md5_number_lower(asset_id) % {len(CATEGORIES) - 1})::integer]"""
    return f"""
        named as (select * from ({things()})),
        grouped as (
            select *, lead(asset_id, 1) over w as b, lead(asset_id, 2) over w as c, lead(family, 1) over w as family_b,
                   lead(family, 2) over w as family_c, {other_kind} as other_kind,
                   md5_number_upper(asset_id) // 4 as h
            from named window w as (partition by style, split, holdout, thing order by md5(asset_id), asset_id)),
        threes as (select * from grouped where family <> family_b and family <> family_c and family_b <> family_c),
        points as (
            select asset_id as other, concept as other_concept, family as other_family, style as other_style,
                   thing as other_thing, split, holdout, md5_number_lower(asset_id) // 4 as at
            from named),
        other_hand as (  -- for each drawing a style that looks otherwise, by hash; flags look alike in all
            select t.*, s.other_style from threes t, (select distinct style as other_style from named) s
            where t.thing <> 'flag' and {style_group("s.other_style")} <> {style_group("t.style")}
            qualify row_number() over (partition by t.asset_id order by md5(t.asset_id || s.other_style)) = 1),
        foursomes as (
            select t.*, p.other, p.other_concept, p.other_family, 'odd' as sort
            from threes t asof join points p on p.other_style = t.style and p.split = t.split
                 and p.holdout = t.holdout and p.other_thing = t.other_kind and t.h <= p.at
            union all by name
            select t.* exclude (other_style), p.other, p.other_concept, p.other_family, 'hand' as sort
            from other_hand t asof join points p on p.other_style = t.other_style and p.split = t.split
                 and p.holdout = t.holdout and p.other_thing = t.thing and t.h <= p.at
            where p.other_family not in (t.family, t.family_b, t.family_c))"""


def odd_ones() -> str:
    """SQL: each foursome, with the odd one at a position by hash."""
    return """
        select sort || asset_id || other as key, sort as kind, sort as balance, split, holdout,
               [other, asset_id, b, c][1 + place] as slot_a, [asset_id, other, c, b][1 + place] as slot_b,
               [b, c, other, asset_id][1 + place] as slot_c, [c, b, asset_id, other][1 + place] as slot_d,
               other as slot_target, thing_many as word_many,
               ['first', 'second', 'third', 'fourth'][1 + place] as word_nth, other_concept as meta_concept,
               other_family as meta_family, style as meta_style, sort as meta_relation
        from (select *, (md5_number_lower(other || asset_id) % 4)::integer as place from foursomes)"""


def analogies() -> str:
    """SQL: an edit, and the next one by hash with the same relation in another family."""
    return """
        select 'analogy' || query || target as key, 'analogy' as kind, 'analogy' as balance, split, holdout,
               query as slot_a, target as slot_b, next_query as slot_c, next_target as slot_target,
               next_concept as meta_concept, next_family as meta_family, style as meta_style, relation as meta_relation
        from (
            select *, lead(query) over w as next_query, lead(target) over w as next_target,
                   lead(family) over w as next_family, lead(concept) over w as next_concept
            from edits where kind <> 'style' or md5_number_lower(query || target) % 8 = 0
            window w as (partition by relation, split, holdout order by md5(query || target), query, target))
        where next_family <> family"""


def corpus_questions() -> str:
    """SQL: MIMIC-IT's questions about pairs, stories and frames."""
    images = ", ".join(f"media[{n}] as slot_image{n}" for n in range(1, PICTURES_TOLD[-1] + 1))
    return f"""
        select 'told' || asset_id as key, 'told' || len(media) as kind, 'told' as balance, split, holdout, {images},
               turns[1] as text_question, turns[2] as text_answer, asset_id as source_asset, family as meta_family,
               'told' as meta_relation
        from spoken where kind = 'related' and len(turns) = 2 and len(media) in {PICTURES_TOLD}"""


PLANNER = Planner(
    "reasoning",
    "2",
    phrasings(TEMPLATES),
    {
        "next": sequences(), "series": series(), "sum": arithmetic("sum"), "rest": arithmetic("rest"), "odd": odd_ones(),
        "analogy": analogies(), "told": corpus_questions(),
    },
    Columns(
        words=("caption", "many", "nth"),
        media=("a", "b", "c", "d", "target", *(f"image{n}" for n in range(1, PICTURES_TOLD[-1] + 1))),
        derived=("p", "q", "r", "made"),
        texts=("question", "answer"),
        sources=("asset",),
        meta=("concept", "family", "style", "relation"),
    ),
    tables=f"""{order_tables()}, {odd_tables()},
               countable as (select * from ({things(COUNTABLE)}) where subgroup is not null)""",
)  # fmt: skip
