"""Picture and question -> an answer that the picture's own record proves true. Yes and no come equally often."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

TEMPLATES = {
    "style": (
        ("In which style is this drawn? [query]", "{answer}"),
        ("[query] Whose style is this?", "It is the {answer} style."),
        ("Name the style of [query]", "{answer}"),
    ),
    "group": (
        ("[query] What kind of thing is this: {first} or {second}?", "{answer}"),
        ("Is [query] about {first} or about {second}?", "{answer}"),
        ("Sort this picture: {first} or {second}? [query]", "{answer}"),
    ),
    "is_it": (
        ('Does [query] show "{asked}"?', "{answer}"),
        ('[query] Is this "{asked}"?', "{answer}"),
        ('True or not: the picture [query] shows "{asked}".', "{answer}"),
    ),
    "same_thing": (
        ("Do [query] and [other] show the same thing?", "{answer}"),
        ("[query] [other] Are these two the same thing, drawn differently?", "{answer}"),
        ("Compare [query] with [other]. Is the subject the same?", "{answer}"),
    ),
    "tone": (
        ("Which skin tone does [query] have?", "{answer}"),
        ("[query] Name the skin tone.", "{answer}"),
        ("What is the skin tone of the one in [query]?", "It is {answer}."),
    ),
}

# groups of Unicode, in words; what these do not name is not asked about
GROUPS = {
    "animals-nature": "animals and nature",
    "food-drink": "food and drink",
    "flags": "flags",
    "travel-places": "travel and places",
    "activities": "activities",
    "objects": "objects",
    "symbols": "symbols",
}

HEAD = """split, holdout, asset_id as slot_query, concept as meta_concept, family as meta_family, style as meta_style"""


def candidates(options: dict) -> str:
    groups = ", ".join(f"('{name}', '{words}')" for name, words in GROUPS.items())
    return f"""with named as (select * from pictures where style is not null and caption <> '' and family is not null),
        groups(name, words) as (values {groups}),
        ring as (  -- beside each picture the one that follows it by hash, of the same style and split
            select *, lead(asset_id) over w as next, lead(caption) over w as next_caption,
                   lead(family) over w as next_family,
                   md5_number_lower(asset_id) % 2 = 0 as yes
            from named window w as (partition by style, split, holdout order by md5(asset_id), asset_id)),
        wrong as (  -- a group that is not the picture's, by hash
            select n.asset_id, o.words as words
            from named n join groups o on o.name <> n."group" and o.name <> 'symbols'
            qualify row_number() over (partition by n.asset_id order by md5(n.asset_id || o.name)) = 1)
        select 'style' || asset_id as key, 'style' as kind, 'style' as balance, {HEAD}, null as slot_other,
               style as word_answer, null as word_first, null as word_second, null as word_asked from named
        union all by name
        select 'group' || n.asset_id as key, 'group' as kind, 'group' as balance, n.split, n.holdout,
               n.asset_id as slot_query, n.concept as meta_concept, n.family as meta_family, n.style as meta_style,
               g.words as word_answer,
               if(md5_number_upper(n.asset_id) % 2 = 0, g.words, w.words) as word_first,
               if(md5_number_upper(n.asset_id) % 2 = 0, w.words, g.words) as word_second
        from named n join groups g on g.name = n."group" join wrong w using (asset_id)
        where g.name in ('animals-nature', 'food-drink', 'flags')  -- the others hold what people would not look for there
        union all by name
        select 'is_it' || asset_id as key, 'is_it' as kind, 'is_it ' || yes as balance, {HEAD},
               if(yes, caption, next_caption) as word_asked, if(yes, 'Yes.', 'No.') as word_answer
        from ring where yes or next_family <> family
        union all by name
        select 'same' || query || target as key, 'same_thing' as kind, 'same_thing yes' as balance, split, holdout,
               query as slot_query, target as slot_other, 'Yes.' as word_answer, concept as meta_concept,
               family as meta_family, style as meta_style
        from edits where kind = 'style' and source_style < style
        union all by name
        select 'other' || asset_id as key, 'same_thing' as kind, 'same_thing no' as balance, {HEAD},
               next as slot_other, 'No.' as word_answer
        from ring where next_family <> family
        union all by name
        select 'tone' || asset_id as key, 'tone' as kind, 'tone' as balance, {HEAD}, t.tone_word as word_answer
        from named n join tones t on t.tone = n.tone where t.tone between 1 and 5"""


PLANNER = Planner(
    "visual_question_answering",
    "1",
    tuple(Template(*turns, kind=kind) for kind, said in TEMPLATES.items() for turns in said),
    candidates,
)
