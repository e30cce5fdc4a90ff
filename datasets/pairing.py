"""In-context pairing: demonstrations for a sample, drawn from the pairs to which the same was done.

Declared, deterministic and linear: the pairs of a relation are numbered once, and each sample takes some numbers by
hash. Never the query or the target, never two of one family, never across splits or kinds of holdout.
"""

from __future__ import annotations

import duckdb

DRAWS = 5  # numbers drawn for each demonstration wanted: some fall on the sample's own family or on one twice


def pair(
    connection: duckdb.DuckDBPyConnection, samples: str, pool: str, seed: int, min_demos: int, max_demos: int
) -> None:
    """Add to table `samples` the columns demo_in and demo_out (lists of asset ids) and demos (their number).

    `samples` has key, relation, family, split, holdout, slot_query and slot_target; `pool` has the same for all pairs.
    Where fewer than `min_demos` can be found, demos is 0.
    """
    if not 1 <= min_demos <= max_demos:
        raise ValueError(f"min_demos {min_demos} and max_demos {max_demos}: need 1 <= min_demos <= max_demos")
    connection.execute(
        f"""create or replace temp table numbered as
            select relation, split, holdout, family, slot_query, slot_target,
                   row_number() over (partition by relation, split, holdout order by md5(key), key) - 1 as n,
                   count(*) over (partition by relation, split, holdout) as size
            from {pool}"""
    )
    connection.execute(
        f"""create or replace temp table drawn as
            with sizes as (select distinct relation, split, holdout, size from numbered),
            draws as (
                select s.key, s.family, relation, split, holdout, d.draw,
                       md5_number_lower(concat_ws('|', {seed}, s.key, d.draw)) % z.size as n
                from {samples} s join sizes z using (relation, split, holdout),
                     range({DRAWS * max_demos}) d(draw)),
            found as (
                select d.key, d.draw, p.slot_query, p.slot_target,
                       row_number() over (partition by d.key, p.family order by d.draw) as again
                from draws d join numbered p using (relation, split, holdout, n) where p.family <> d.family)
            select key, list(slot_query order by draw)[1:{max_demos}] as demo_in,
                   list(slot_target order by draw)[1:{max_demos}] as demo_out
            from found where again = 1 group by key"""
    )
    wanted = f"{min_demos} + (md5_number_upper(concat_ws('|', {seed}, key)) % {max_demos - min_demos + 1})::integer"
    connection.execute(
        f"""create or replace temp table {samples} as
            with counted as (
                select s.*, coalesce(d.demo_in, []) as demo_in, coalesce(d.demo_out, []) as demo_out,
                       least(coalesce(len(d.demo_in), 0), {wanted}) as demos
                from {samples} s left join drawn d using (key))
            select * replace (if(demos < {min_demos}, 0, demos) as demos) from counted"""
    )
    connection.execute("drop table drawn; drop table numbered")
