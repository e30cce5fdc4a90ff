"""Pairs of images that differ in one attribute: the raw material of edits and of in-context examples.

`edits` has one row for each ordered pair (query, target):
  kind       the attribute (see `codi2_datasets.corpora.attributes`); told, if a corpus of edits describes the change in
             words: columns instruction, and told_by, the text that describes it
  relation   the edit itself, the same for every pair with the same change: 'style:Noto>Twemoji'
  word       the word for the target's value; null if the change is only shown
  alike      whether both values look alike
  split      of the target; a pair whose split forbids the query is left out (see `PAIR_SPLIT`)
"""

from __future__ import annotations

import duckdb

from codi2_datasets.corpora import Attribute, attributes
from codi2_datasets.planning.tables import SCHEMAS
from codi2_storage.catalog.sql import case, identifier, literal, literals

# A held-out family is held out as a whole. A held-out combination may be requested from images seen in training, but a
# training pair never shows one.
PAIR_SPLIT = """case when t.holdout = 'concept' and q.split = t.split and q.holdout = 'concept' then t.split
                     when t.holdout = 'combination' and q.split in ('train', t.split) then t.split
                     when t.split = 'train' and q.split = 'train' then 'train' end"""
PAIR = f"""q.asset_id as query, t.asset_id as target, t.concept as concept, q.concept as source_concept,
           t.style as style, q.style as source_style, {PAIR_SPLIT} as split, t.holdout as holdout"""

# Edits that a corpus describes in words. Equal words mean the same edit. Of duplicate rows, one is kept.
TOLD = f"""
    select 'told' as kind, 'told:' || lower(rtrim(turns[1], '. ')) as relation, coalesce(t.family, t.asset_id) as family,
           turns[1] as instruction, e.asset_id as told_by, {PAIR}
    from (select * from spoken where kind = 'edit' and len(media) = 2) e
    join pictures q on q.asset_id = e.media[1] join pictures t on t.asset_id = e.media[2]
    where ({PAIR_SPLIT}) is not null and q.near <> t.near
    qualify row_number() over (partition by q.asset_id, t.asset_id order by e.asset_id) = 1"""


def make_relations(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables `pictures`, `sounds`, `clips` and `texts`, and the view `edits`, from `selected` and `spoken`."""
    connection.execute(
        f"""create temp table pictures as select * from selected where modality = 'image';
            create temp table sounds as select * from selected where modality = 'audio';
            create temp table clips as select * from selected where modality = 'video';
            create temp table texts as select * from selected where modality = 'text';
            create temp view edits as {edits()}"""
    )


def store_edits(connection: duckdb.DuckDBPyConnection) -> None:
    """Put a table in place of the view `edits`, if it is not there yet: several tasks are to read it."""
    if connection.execute("select 1 from duckdb_views() where view_name = 'edits'").fetchone():
        connection.execute("create temp table stored_edits as select * from edits; drop view edits")
        connection.execute("alter table stored_edits rename to edits")


def edits() -> str:
    """SQL: the pairs of every attribute and those that corpora describe in words, in the columns of the table."""
    columns = SCHEMAS["edits"].names
    empty = ", ".join(f"null::{'boolean' if name == 'alike' else 'varchar'} as {identifier(name)}" for name in columns)
    pairs = " union all by name ".join(f"({query})" for query in (*map(pairs_of, attributes().values()), TOLD))
    return f"select {empty} where false union all by name {pairs}"


def pairs_of(attribute: Attribute) -> str:
    """SQL: the pairs of images that differ in an attribute."""
    old, new = value_of(attribute, "q."), value_of(attribute, "t.")
    rules = [f"q.{identifier(name)} = t.{identifier(name)}" for name in attribute.same]
    if attribute.values:
        rules += [f"{value} in ({literals(attribute.values)})" for value in (old, new)]
    if attribute.neutral:
        rules.append(f"{literal(attribute.neutral)} in ({old}, {new})")
    has_word = f"not regexp_matches(t.concept, {literal(attribute.wordless)})" if attribute.wordless else "true"
    name = literal(attribute.name)
    return f"""
        select {name} as kind, {name} || ':' || {old} || '>' || {new} as relation, t.family as family,
               if({has_word}, {word_of(attribute, new)}, null) as word,
               {group_of(attribute, old)} = {group_of(attribute, new)} as alike, {PAIR}
        from pictures q join pictures t on {" and ".join(rules)} and {old} <> {new}
        where ({PAIR_SPLIT}) is not null and q.near <> t.near"""


def value_of(attribute: Attribute, table: str = "") -> str:
    """SQL for the attribute's value of a row; null if it has none."""
    value = f"nullif({table}{identifier(attribute.name)}, '')"
    return f"coalesce({value}, {literal(attribute.absent)})" if attribute.absent else value


def word_of(attribute: Attribute, value: str) -> str:
    """SQL for the word of a value; null if it has none."""
    return case(
        value,
        [(known, literal(word)) for known, word in attribute.words.items()],
        otherwise="null" if attribute.words else value,
    )


def group_of(attribute: Attribute, value: str) -> str:
    """SQL for the group of values that look like this one."""
    return case(value, [(known, literal(group)) for known, group in attribute.groups.items()], otherwise=value)
