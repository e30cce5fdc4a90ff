"""Places media within texts: the character U+FFFC in a candidate's text stands for one of the candidate's media."""

from __future__ import annotations

import duckdb

from codi2_datasets.planning.planner import Columns
from codi2_datasets.readers.words import MARK


def place_media(connection: duckdb.DuckDBPyConnection, columns: Columns) -> None:
    """Split the texts of `task_parts` at their marks.

    The n-th mark of a sample stands for the n-th of the candidate's `marks`.

    Does nothing if the candidates have no such column.
    """
    if "marks" not in columns.others:
        return
    connection.execute(
        f"""create or replace temp table task_parts as
            with cut as (
                select p.*, c.marks, string_split(p.text, '{MARK}') as said, len(said) - 1 as own,
                       sum(own) over (partition by p.key order by p.position) - own as before
                from task_parts p left join chosen c on c.key = p.key and p.text is not null and c.marks is not null),
            pieces as (select *, unnest(range(if(marks is null, 1, 2 * len(said) - 1))) as n from cut)
            select * exclude (marks, said, own, before, n) replace (
                if(marks is null, text, if(n % 2 = 0, said[n // 2 + 1], null)) as text,
                if(n % 2 = 0, asset_id, marks[(before + n // 2 + 1)::bigint]) as asset_id,
                row_number() over (partition by key order by position, n) - 1 as position)
            from pieces where marks is null or n % 2 = 1 or said[n // 2 + 1] <> ''"""
    )
