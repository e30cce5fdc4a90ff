"""Pairs of images that differ in one attribute: the raw material of edits and of in-context examples.

`edits` has one row for each ordered pair (query, target):
  kind       style, tone, gender or direction; told, if a corpus of edits describes it in words: columns
             instruction, and told_by, the text that describes it
  relation   the edit itself, the same for every pair with the same change: 'style:Noto>Twemoji'
  split      of the target; a pair whose split forbids the query is left out (see `PAIR_SPLIT`)
"""

from __future__ import annotations

import duckdb

# changes of gender that can be requested in words: to a man or a woman, if only one person has a gender
SAYABLE_GENDER = (
    "(gender in ('man', 'woman', 'boy', 'girl') "
    r"and not regexp_matches(concept, '\b(men|women|people)\b|^(kiss|couple with heart|family)\b'))"
)
TONES = {0: "yellow", 1: "light", 2: "medium-light", 3: "medium", 4: "medium-dark", 5: "dark"}

# A held-out family is held out as a whole. A held-out combination may be requested from images seen in training, but a
# training pair never shows one.
PAIR_SPLIT = """case when t.holdout = 'concept' and q.split = t.split and q.holdout = 'concept' then t.split
                     when t.holdout = 'combination' and q.split in ('train', t.split) then t.split
                     when t.split = 'train' and q.split = 'train' then 'train' end"""


def make_relations(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables `pictures`, `sounds`, `clips`, `texts` and `edits` from `selected` and `spoken`."""
    connection.execute(
        """create temp table pictures as select * from selected where modality = 'image';
           create temp table sounds as select * from selected where modality = 'audio';
           create temp table clips as select * from selected where modality = 'video';
           create temp table texts as select * from selected where modality = 'text'"""
    )
    connection.execute("create temp table tones (tone varchar, tone_word varchar)")
    connection.executemany("insert into tones values (?, ?)", [(str(tone), word) for tone, word in TONES.items()])
    relations = [
        relation_sql("style", "'style:' || q.style || '>' || t.style", "q.concept = t.concept and q.style <> t.style"),
        relation_sql(
            "tone",
            "'tone:' || q.tone || '>' || t.tone",
            """q.style = t.style and q.base_concept = t.base_concept and q.tone <> t.tone
               and least(q.tone, t.tone) = '0' and greatest(q.tone, t.tone) between '1' and '5'""",
        ),
        relation_sql(
            "gender",
            "'gender:' || q.gender || '>' || t.gender",
            f"{SAME_STYLE_FAMILY} and q.gender <> t.gender and q.gender <> '' and t.gender <> '' "
            "and q.direction is not distinct from t.direction",
        ),
        relation_sql(
            "direction",
            f"'direction:' || {facing('q')} || '>' || {facing('t')}",
            f"{SAME_STYLE_FAMILY} and q.gender is not distinct from t.gender and q.direction <> t.direction",
        ),
    ]
    connection.execute(f"create temp table edits as {' union all by name '.join([*relations, TOLD])}")


SAME_STYLE_FAMILY = 'q.style = t.style and q.family = t.family and q.tone = t.tone and q."group" = t."group"'


# Edits that a corpus describes in words. Equal words mean the same edit. Of duplicate rows, one is kept.
TOLD = f"""
    select 'told' as kind, 'told:' || lower(rtrim(turns[1], '. ')) as relation, q.asset_id as query, t.asset_id as target,
           coalesce(t.family, t.asset_id) as family, t.concept as concept, q.concept as source_concept,
           t.style as style, q.style as source_style, turns[1] as instruction, e.asset_id as told_by, {PAIR_SPLIT} as split, t.holdout as holdout
    from (select * from spoken where kind = 'edit' and len(media) = 2) e
    join pictures q on q.asset_id = e.media[1] join pictures t on t.asset_id = e.media[2]
    where ({PAIR_SPLIT}) is not null and q.near <> t.near
    qualify row_number() over (partition by q.asset_id, t.asset_id order by e.asset_id) = 1"""


def facing(picture: str) -> str:
    return f"coalesce(nullif({picture}.direction, ''), 'left')"


def relation_sql(kind: str, relation: str, condition: str) -> str:
    return f"""
        select '{kind}' as kind, {relation} as relation, q.asset_id as query, t.asset_id as target, t.family as family,
               t.concept as concept, q.concept as source_concept, t.style as style, q.style as source_style,
               w.tone_word as tone_word, t.gender as gender, {facing("t")} as direction,
               {PAIR_SPLIT} as split, t.holdout as holdout
        from pictures q join pictures t on {condition} left join tones w on w.tone = t.tone
        where ({PAIR_SPLIT}) is not null and q.near <> t.near"""
