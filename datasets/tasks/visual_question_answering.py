"""Image and question -> an answer that follows from the image's own metadata.

Yes and no are equally frequent, and can be told only from the images: two drawings of one thing and two of different
things are both of two styles.
"""

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.edit_pairs import word_of
from codi2_datasets.planning.templates import phrasings
from codi2_datasets.planning.text_links import media_of_turns
from codi2_datasets.readers.words import MARK
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.categories import CATEGORIES, COUNTABLE, things
from codi2_datasets.vocabulary.counting import arrangements
from codi2_datasets.vocabulary.scene_layout import overlay, scene_placements
from codi2_datasets.vocabulary.style_groups import style_group
from codi2_storage.catalog.sql import literals

TEMPLATES = {
    "style": (
        ("In which style is this drawn? [query]", "{answer}"),
        ("[query] Whose style is this?", "It is the {answer} style."),
        ("Name the style of [query]", "{answer}"),
        ("Look at [query]. Which style is it?", "The style is {answer}."),
    ),
    "kind": (
        ("[query] What is this: {first}, {second} or {third}?", "It is {answer}."),
        ("Does [query] show {first}, {second} or {third}?", "It shows {answer}."),
        ("Sort this picture. Is it {first}, {second} or {third}? [query]", "{answer}"),
        ("Which of these do you see in [query]: {first}, {second} or {third}?", "I see {answer}."),
    ),
    "is_it": (
        ('Does [query] show "{asked}"?', "{answer}"),
        ('[query] Is this "{asked}"?', "{answer}"),
        ('Is "{asked}" the right caption for [query]?', "{answer}"),
        ('Someone says that this is "{asked}". Is that so? [query]', "{answer}"),
    ),
    "same_thing": (
        ("Do [query] and [other] show the same thing?", "{answer}"),
        ("[query] [other] Are these two the same thing, drawn differently?", "{answer}"),
        ("Compare [query] with [other]. Is the subject the same?", "{answer}"),
        ("First look at [query], then at [other]. Is it one and the same subject?", "{answer}"),
    ),
    "same_style": (
        ("Are [query] and [other] drawn in the same style?", "{answer}"),
        ("[query] [other] Did one hand draw these two?", "{answer}"),
        ("Compare how [query] and [other] are drawn. Is the style the same?", "{answer}"),
        ("Is the style of [query] that of [other]?", "{answer}"),
    ),
    "which": (
        ('Which of these shows "{asked}", the first or the second? [query] [other]', "The {answer} one."),
        ('[query] [other] Which one is "{asked}"?', "The {answer}."),
        ('Here are two pictures, [query] and [other]. Where do you see "{asked}"?', "In the {answer} picture."),
        ('"{asked}": is it [query] or [other]?', "It is the {answer} one."),
    ),
    "tone": (
        ("Which skin tone does [query] have?", "{answer}"),
        ("[query] Name the skin tone.", "{answer}"),
        ("What is the skin tone of the one in [query]?", "It is {answer}."),
        ("Look at the skin in [query]. Which tone is it?", "The tone is {answer}."),
    ),
    "gender": (
        ("Is this a man or a woman? [query]", "A {answer}."),
        ("[query] Does this show a woman or a man?", "It shows a {answer}."),
        ("Man or woman: who is in [query]?", "It is a {answer}."),
        ("Look at the person in [query]. Is it a man or a woman?", "A {answer}."),
    ),
    "direction": (
        ("Which way does [query] face, left or right?", "{answer}"),
        ("[query] Is the figure facing right or left?", "It is facing {answer}."),
        ("Left or right: where is the one in [query] going?", "To the {answer}."),
        ("Look at [query]. To which side does it turn?", "To the {answer}."),
    ),
    "count": (
        ("How often do you see [thing] in [sheet]?", "{answer}"),
        ("[sheet] Count how many of them are like this one: [thing]", "{answer}"),
        ("This is what I look for: [thing] How many are there in [sheet]?", "There are exactly this many: {answer}"),
        ('How many times is "{asked}" drawn in [sheet]?', "{answer}"),
    ),
    "more": (
        (
            "In [sheet], are there more of the kind [thing] or of the kind [rival]?",
            "There are more of the {answer} kind.",
        ),
        ("[sheet] Which is there more often: [thing] or [rival]?", "The {answer} one."),
        ("First: [thing] Second: [rival] Of which do you see more in [sheet]?", "Of the {answer}."),
        ("Compare the numbers of [thing] and of [rival] in [sheet]. Which number is larger?", "The {answer}."),
    ),
    "where": (
        ("Where in [made] is this? [thing]", "It is {answer}."),
        ("[made] Find [thing] in it and say where it is.", "It is {answer}."),
        ('In which part of [made] do you see "{asked}"?', "I see it {answer}."),
        ("This is [thing]. Where was it put in this picture? [made]", "It was put {answer}."),
    ),
    "told": (
        ("[query] [question]", "[answer]"),
        ("[question] [query]", "[answer]"),
        ("Look at this: [query] [question]", "[answer]"),
        ("I have a question about this picture. [question] [query]", "[answer]"),
    ),
    "asked": (  # the media are within the question
        ("[question]", "[answer]"),
        ("I have a question. [question]", "[answer]"),
        ("Please answer this: [question]", "[answer]"),
        ("Look and answer. [question]", "[answer]"),
    ),
    "colour": (
        ("Is this drawn in colour or in black and white? [query]", "{answer}"),
        ("[query] Black and white, or in colour?", "{answer}"),
        ("Does [query] have colours, or is it black and white?", "It is {answer}."),
        ("Look at [query] and tell me whether it is in colour or in black and white.", "It is {answer}."),
    ),
}
HEAD = "split, holdout, concept as meta_concept, family as meta_family, style as meta_style"
# groups whose drawings show no style, or whose names are too vague
MUTE = "('flags', 'symbols')"
# subgroups in which no other member's name fits as well
EXACT = "('food-fruit', 'musical-instrument')"
LONGEST = 1_000  # characters of a corpus's question, and of its answer
COLOURFUL = "('food-fruit', 'face-smiling')"


def drawings() -> str:
    """SQL for CTEs of images paired with others, all by hash and all of one split and holdout."""
    return f"""
        named as (select *, attributes ->> '$.subgroup' as subgroup from pictures
                  where style is not null and caption <> '' and family is not null),
        visible as (select * from named where "group" is null or "group" not in {MUTE}),
        ring as (  -- beside each drawing the next of its style
            select *, lead(asset_id) over w as next, lead(caption) over w as next_caption,
                   lead(family) over w as next_family, lead("group") over w as next_group
            from visible window w as (partition by style, split, holdout order by md5(asset_id), asset_id)),
        alike as (  -- beside each drawing one of its style and subgroup, of which its own name is not true
            select *, lead(caption) over w as next_caption, lead(family) over w as next_family
            from named where subgroup in {EXACT} and caption <> 'melon'
            window w as (partition by style, split, holdout, subgroup order by md5(asset_id), asset_id)),
        hands as (select asset_id as next, style as next_style, family as next_family, split, holdout,
                         md5_number_lower(asset_id) // 4 as at from visible),
        other_look as (  -- beside each drawing one of a style that looks otherwise
            select v.*, h.next, h.next_family from (
                select v.*, s.next_style, md5_number_upper(v.asset_id) // 4 as h
                from visible v, (select distinct style as next_style from visible) s
                where {style_group("s.next_style")} <> {style_group("v.style")}
                qualify row_number() over (partition by v.asset_id order by md5(v.asset_id || s.next_style)) = 1) v
            asof join hands h on h.next_style = v.next_style and h.split = v.split and h.holdout = v.holdout
                 and v.h <= h.at),
        twice as (  -- one thing in two styles, and beside the second another thing in that second style
            select e.query, e.target, e.split, e.holdout, e.concept, e.family, e.style, r.next, r.next_family,
                   md5_number_upper(e.query || e.target) % 2 = 0 as yes
            from edits e join ring r on r.asset_id = e.target
            where e.kind = 'style' and md5_number_lower(e.query || e.target) % 6 = 0),
        stamps as (  -- cut-outs whose caption is the name of a thing: 'A duck.'
            select *, lower(caption[1]) || rtrim(caption[2:], '.') as words,
                   string_split(attributes ->> '$.category', '/')[1] as sort
            from pictures where style is null and regexp_full_match(caption, '(A|An|The) [^.!?,]+[.]')),
        stamp_ring as (
            select *, lead(words) over w as next_words, lead(sort) over w as next_sort
            from stamps window w as (partition by corpus, split, holdout order by md5(asset_id), asset_id)),
        rivals as (
            select *, lead(asset_id) over w as rival, lead(family) over w as rival_family
            from ({things(COUNTABLE)}) where subgroup is not null
            window w as (partition by style, split, holdout order by md5(asset_id), asset_id))"""


def shuffled(words: str, salt: str) -> str:
    """SQL: a list of words in an order that depends on asset_id."""
    return f"""list_transform(list_sort(list_transform({words}, lambda k: [md5('{salt}' || asset_id || k), k])),
                             lambda k: k[2])"""


def records() -> str:
    """SQL: questions about the metadata of one drawing: style, category, tone, gender, direction, colours."""
    kinds = literals(kind.words for kind in CATEGORIES)
    tone = attributes()["tone"]
    coloured = f"if({style_group('style')} = 'black and white', 'in black and white', 'in colour')"
    return f"""
        select 'style' || asset_id as key, 'style' as kind, 'style' as balance, {HEAD}, asset_id as slot_query,
               style as word_answer from visible
        union all by name
        select 'kind' || asset_id as key, 'kind' as kind, 'kind ' || thing as balance, {HEAD}, asset_id as slot_query,
               thing_words as word_answer, choice[1] as word_first, choice[2] as word_second, choice[3] as word_third
        from (select *, {shuffled("list_append(wrong[1:2], thing_words)", "order")} as choice
              from (select *, {shuffled(f"list_filter([{kinds}], lambda k: k <> thing_words)", "kind")} as wrong
                    from ({things()})))
        union all by name
        select 'tone' || asset_id as key, 'tone' as kind, 'tone' as balance, {HEAD}, asset_id as slot_query,
               {word_of(tone, "tone")} as word_answer
        from named where tone in ({literals(tone.words)}) and tone <> '{tone.neutral}' and {style_group("style")} <> 'black and white'
        union all by name
        select 'gender' || asset_id as key, 'gender' as kind, 'gender ' || gender as balance, {HEAD},
               asset_id as slot_query, gender as word_answer
        from named where gender in ('man', 'woman') and "group" = 'people-body'
                   and not regexp_matches(concept, '\\b(men|women)\\b')
        union all by name
        select 'direction' || asset_id as key, 'direction' as kind, 'direction ' || facing as balance, {HEAD},
               asset_id as slot_query, facing as word_answer
        from named join (select target as asset_id, any_value(word) as facing from edits
                         where kind = 'direction' group by target) using (asset_id)
        union all by name
        select 'colour' || asset_id as key, 'colour' as kind, {coloured} as balance, {HEAD}, asset_id as slot_query,
               {coloured} as word_answer
        from named where subgroup in {COLOURFUL}"""


def yes_or_no() -> str:
    """SQL: questions that are answered by yes or no."""

    def asked(kind: str, rows: str, yes: str, columns: str, key: str = "asset_id") -> str:
        return f"""
            select '{kind} ' || {yes} || {key} as key, '{kind}' as kind, '{kind} ' || {yes} as balance, {HEAD},
                   {columns}, if({yes}, 'Yes.', 'No.') as word_answer from {rows}"""

    own, yes = "asset_id as slot_query", "md5_number_lower(asset_id) % 5 < 2"  # fewer yes, because some no are dropped
    parts = (
        asked("is_it", f"ring where {yes}", "true", f"{own}, caption as word_asked"),
        asked("is_it", f"""ring where not {yes} and next_group <> "group" and next_family <> family""", "false",
              f"{own}, next_caption as word_asked"),
        asked("is_it", """alike where next_family <> family
              and not list_has_any(string_split(caption, ' '), string_split(next_caption, ' '))""", "false",
              f"{own}, next_caption as word_asked", "'alike' || asset_id"),
        asked("is_it", "stamps", "true", f"{own}, words as word_asked"),
        asked("is_it", "stamp_ring where next_sort <> sort", "false", f"{own}, next_words as word_asked"),
        asked("same_thing", "twice where yes or next_family <> family", "yes",
              "query as slot_query, if(yes, target, next) as slot_other", "query || target"),
        asked("same_style", "ring where next_family <> family", "true", f"{own}, next as slot_other"),
        asked("same_style", "other_look where next_family <> family", "false", f"{own}, next as slot_other"),
    )  # fmt: skip
    return " union all by name ".join(parts)


def choices() -> str:
    """SQL: which of two; how many; which are more; where. The first one named is chosen by hash."""
    flip = "md5_number_upper('flip' || asset_id) % 2 = 0 as flip"
    rows = f"(select *, {flip} from rivals where rival_family <> family), (values {arrangements()}) w(n, m, params)"
    sheet = "{'op': 'grid', 'params': w.params, 'inputs': [asset_id, rival]} as derive_sheet"

    def once(kind: str) -> str:
        return f"qualify row_number() over (partition by asset_id order by md5('{kind}' || asset_id || w.params)) = 1"

    return f"""
        select 'which' || asset_id as key, 'which' as kind, 'which' as balance, {HEAD}, caption as word_asked,
               if(flip, next, asset_id) as slot_query, if(flip, asset_id, next) as slot_other,
               if(flip, 'second', 'first') as word_answer
        from (select *, {flip} from ring where next_group <> "group" and next_family <> family)
        union all by name
        select 'count' || asset_id as key, 'count' as kind, 'count' as balance, {HEAD}, asset_id as slot_thing,
               caption as word_asked, {sheet}, n::varchar as word_answer
        from {rows} {once("count")}
        union all by name
        select 'more' || asset_id as key, 'more' as kind, 'more' as balance, {HEAD},
               if(flip, rival, asset_id) as slot_thing, if(flip, asset_id, rival) as slot_rival, {sheet},
               if((n > m) = flip, 'second', 'first') as word_answer
        from {rows} {once("more")}
        union all by name
        select 'where' || scene || thing as key, 'where' as kind, 'where' as balance, {HEAD}, thing as slot_thing,
               caption as word_asked, {overlay({"thing": "x, y"})} as derive_made, place as word_answer
        from put"""


def corpus_questions() -> str:
    """SQL: the first question of each conversation about media in a corpus (LLaVA-Instruct, MIMIC-IT)."""
    return f"""
        select 'told' || asset_id as key, 'told' as kind, 'told ' || corpus as balance, split, holdout,
               media[1] as slot_query, turns[1] as text_question, turns[2] as text_answer, asset_id as source_asset,
               family as meta_family, 'told' as meta_relation
        from spoken where kind in ('conversation', 'related') and len(media) = 1
                      and length(turns[1]) <= {LONGEST} and length(turns[2]) <= {LONGEST}
        union all by name
        select 'asked' || asset_id as key, 'asked' as kind, 'told ' || corpus as balance, split, holdout,
               turns[1] as text_question, turns[2] as text_answer, {media_of_turns(2)} as marks,
               asset_id as source_asset, family as meta_family, 'told' as meta_relation
        from spoken where kind = 'interleaved' and contains(turns[1], '{MARK}')
                      and length(turns[1]) <= {LONGEST} and length(turns[2]) <= {LONGEST}"""


PLANNER = Planner(
    "visual_question_answering",
    "2",
    phrasings(TEMPLATES),
    {"records": records(), "yes or no": yes_or_no(), "choices": choices(), "told": corpus_questions()},
    Columns(
        words=("answer", "first", "second", "third", "asked"),
        media=("query", "other", "thing", "rival"),
        derived=("sheet", "made"),
        texts=("question", "answer"),
        sources=("asset",),
        meta=("concept", "family", "style", "relation"),
        others=("marks",),
    ),
    tables=f"{drawings()}, {scene_placements()}",
)
