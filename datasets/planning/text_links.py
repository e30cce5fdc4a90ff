"""Links between texts and the media they refer to.

A row of text names media by the attribute `media` and other texts by `related`; the named row has the name as its
attribute `ref`, in the same corpus. Names are resolved among everything ingested: of two rows with the same media one
is selected, and both names resolve to it.
"""

from __future__ import annotations

import duckdb

from codi2_datasets.planning.tables import create_tables
from codi2_datasets.readers.words import MARK


def media_of_turns(number: int) -> str:
    """SQL: for a row of `spoken` whose turns have MARK in place of media, the media of its first turns."""
    counts = f"list_transform(turns[1 : {number}], lambda t: len(string_split(t, '{MARK}')) - 1)"
    return f"media[1 : coalesce(list_sum({counts}), 0)::bigint]"


def make_links(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `links` and `spoken` from `ingested` and `selected`.

    The split of a text in `spoken` is its own if its media are of the same or of train; otherwise the text cannot be
    used.
    """
    create_tables(connection, "links", "spoken")
    connection.execute(
        """create temp table refs as
           select corpus, ref, is_text, min(asset_id) as asset_id
           from (select corpus, asset_id, attributes ->> '$.ref' as ref, modality = 'text' as is_text from ingested
                 where contains(attributes, '"ref": '))
           where ref is not null group by corpus, ref, is_text;
           insert into links
           with speaking as (
               select asset_id, corpus, attributes from selected
               where modality = 'text' and (contains(attributes, '"media": ') or contains(attributes, '"related": '))),
           named as (
               select asset_id, corpus, role, unnest(names) as ref, generate_subscripts(names, 1) as position
               from (select asset_id, corpus, r.role,
                            from_json(attributes -> ('$.' || r.role), '["varchar"]') as names
                     from speaking, (values ('media'), ('related')) r(role)))
           select n.asset_id, n.role, n.position, r.asset_id
           from named n join refs r on r.corpus = n.corpus and r.ref = n.ref and r.is_text = (n.role = 'related')
           semi join selected s on s.asset_id = r.asset_id;
           drop table refs"""
    )
    connection.execute(
        """insert into spoken
           with shown as (
               select l.text_id, list(l.target order by l.position) as media, list(distinct m.near) as near,
                      list_filter(list(distinct m.split), lambda s: s <> 'train') as unseen,
                      bool_and(m.holdout = 'concept') as all_concepts
               from links l join selected m on m.asset_id = l.target where l.role = 'media' group by l.text_id),
           told as (
               select t.* exclude (near), s.media, s.near, s.unseen, s.all_concepts, from_json(t.text, '["varchar"]') as lines,
                      len(from_json(t.attributes -> '$.media', '["varchar"]')) as wanted
               from selected t join shown s on s.text_id = t.asset_id)
           select asset_id, kind, corpus, family, attributes, lines[1 : len(lines) - 1] as turns, media, near,
                  case when split = 'train' and len(unseen) = 0 then 'train'
                       when split <> 'train' and list_filter(unseen, lambda s: s <> split) = [] then split end as side,
                  case when side = 'train' then '' when all_concepts then 'concept' else 'combination' end as holdout
           from told where wanted = len(media) and side is not null"""
    )
