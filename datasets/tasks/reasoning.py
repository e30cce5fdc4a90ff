"""What follows, what does not belong, what is to this as that is to the other: nothing but the pictures tells.

next      clock faces an hour or half an hour apart, and what time comes after them
odd       three pictures of one group and one of another
analogy   a is to b as c is to ?: the same edit done to another family
"""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

TEMPLATES = {
    "next": (
        ("Given [a], [b] and [c], what comes next?", "[target]"),
        ("[a] [b] [c] Continue the sequence.", "[target]"),
        ("First [a], then [b], then [c]. And then?", "[target]"),
    ),
    "odd": (
        ("Which of these does not belong? [a] [b] [c] [d]", "[target]"),
        ("[a] [b] [c] [d] Three of these are of one kind. Show me the other one.", "[target]"),
        ("Find the odd one out among [a], [b], [c] and [d].", "It is this one: [target]"),
    ),
    "analogy": (
        ("[a] is to [b] as [c] is to what?", "[target]"),
        ("If [a] becomes [b], what does [c] become?", "[target]"),
        ("[a] : [b] = [c] : ?", "[target]"),
    ),
}
HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
GROUPS = ("animals-nature", "food-drink", "flags")


def candidates(options: dict) -> str:
    # twenty-four faces, numbered in half hours; the sequences go round the clock
    faces = ", ".join(
        f"('{name}', {half})"
        for n, hour in enumerate(HOURS)
        for name, half in ((f"{hour} o’clock", 2 * n), (f"{hour}-thirty", 2 * n + 1))
    )
    groups = ", ".join(f"'{group}'" for group in GROUPS)
    return f"""with faces(name, half) as (values {faces}),
        clocks as (select p.*, f.half from pictures p join faces f on f.name = p.concept where p.style is not null),
        grouped as (
            select *, lead(asset_id, 1) over w as b, lead(asset_id, 2) over w as c
            from pictures where style is not null and "group" in ({groups})
            window w as (partition by style, split, holdout, "group" order by md5(asset_id), asset_id)),
        odd as (
            select g.*, o.asset_id as other, o.concept as other_concept, o.family as other_family
            from grouped g asof join (
                select *, md5_number_lower(asset_id) // 4 as h from grouped) o
            on o.style = g.style and o.split = g.split and o.holdout = g.holdout
               and o."group" = case g."group" when '{GROUPS[0]}' then '{GROUPS[1]}' when '{GROUPS[1]}' then '{GROUPS[2]}'
                               else '{GROUPS[0]}' end
               and md5_number_upper(g.asset_id) // 4 <= o.h
            where g.c is not null),
        pairs as (
            select *, lead(query) over w as next_query, lead(target) over w as next_target,
                   lead(family) over w as next_family, lead(concept) over w as next_concept
            from edits where kind <> 'style' or md5_number_lower(query || target) % 8 = 0
            window w as (partition by relation, split, holdout order by md5(query || target), query, target))
        select 'next' || c0.asset_id || step as key, 'next' as kind, 'next' as balance, c3.split, c3.holdout,
               c0.asset_id as slot_a, c1.asset_id as slot_b, c2.asset_id as slot_c, null as slot_d,
               c3.asset_id as slot_target, c3.concept as meta_concept, c3.family as meta_family, c3.style as meta_style
        from clocks c0, (values (1), (2), (4)) s(step), clocks c1, clocks c2, clocks c3
        where c1.half = (c0.half + step) % 24 and c2.half = (c0.half + 2 * step) % 24
          and c3.half = (c0.half + 3 * step) % 24
          and c1.style = c0.style and c2.style = c0.style and c3.style = c0.style
          and c1.split = c0.split and c2.split = c0.split and c3.split = c0.split
          and c1.holdout = c0.holdout and c2.holdout = c0.holdout and c3.holdout = c0.holdout
        union all by name
        select 'odd' || asset_id || other as key, 'odd' as kind, 'odd' as balance, split, holdout,
               [other, asset_id, b, c][1 + place] as slot_a, [asset_id, other, c, b][1 + place] as slot_b,
               [b, c, other, asset_id][1 + place] as slot_c, [c, b, asset_id, other][1 + place] as slot_d,
               other as slot_target, other_concept as meta_concept, other_family as meta_family, style as meta_style
        from (select *, (md5_number_lower(other || asset_id) % 4)::integer as place from odd)
        union all by name
        select 'analogy' || query || target as key, 'analogy' as kind, 'analogy' as balance, split, holdout,
               query as slot_a, target as slot_b, next_query as slot_c, next_target as slot_target,
               next_concept as meta_concept, next_family as meta_family, style as meta_style
        from pairs where next_family <> family"""


PLANNER = Planner(
    "reasoning",
    "1",
    tuple(Template(*turns, kind=kind) for kind, said in TEMPLATES.items() for turns in said),
    candidates,
)
