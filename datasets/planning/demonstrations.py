"""In-context pairing: chooses demonstrations for a sample among candidates with the same relation.

Declarative and deterministic. The candidates of a pool are placed on a ring, ordered by the hashes of their keys; a
sample starts at the hash of its own key and takes the candidates that follow. So a changed row changes the
demonstrations of the few samples that had taken it and no others, as a delta build requires. A demonstration is never
the query, the target or a near-duplicate of them; there are never two of one family, none across splits or kinds of
holdout, and none under a licence that is incompatible with the sample's own.

The strategy decides which samples share a pool:
  relation   candidates with the same relation: their column `relation`
  task       any candidates of the kind
  nearest    as relation, starting with those whose query is nearest to the sample's own (table `neighbours`)
"""

from __future__ import annotations

import duckdb

STRATEGIES = ("relation", "task", "nearest")
SPARE = 4  # extra candidates to consider: some are of the sample's own family or of one already taken
RING = 2**62
DEMO_COLUMNS = ("slot_query", "slot_target", "text_query", "text_target", "source_asset")


def pair(
    connection: duckdb.DuckDBPyConnection,
    samples: str,
    pool: str,
    seed: int,
    min_demos: int,
    max_demos: int,
    strategy: str = "relation",
) -> None:
    """Add to table `samples` the columns demos (their number) and, for each of DEMO_COLUMNS that the pool has, a list.

    `samples` has key, kind, relation, family, split, holdout and the pool's columns. `family2`, `near_query` and
    `near_target` (groups of near-duplicates) are used if they exist. If fewer than `min_demos` are found, demos is 0.
    Raises ValueError for invalid numbers or an unknown strategy.
    """
    if not 0 <= min_demos <= max_demos:
        raise ValueError(f"min_demos {min_demos} and max_demos {max_demos}: need 0 <= min_demos <= max_demos")
    if strategy not in STRATEGIES:
        raise ValueError(f"pairing {strategy!r}: known: {', '.join(STRATEGIES)}")
    columns = {column[0] for column in connection.execute(f"select * from {pool} limit 0").description}
    group = "kind" if strategy == "task" else "coalesce(relation, kind)"
    connection.execute(
        f"""create or replace temp table ring as
            with placed as (select *, {group} as ring, md5_number_lower(key) % {RING} as h from {pool})
            select *, row_number() over (partition by ring, split, holdout order by h, key) - 1 as n,
                   count(*) over (partition by ring, split, holdout) as size
            from placed"""
    )
    ranked = following(samples, group, seed, max_demos)
    if strategy == "nearest" and "slot_query" in columns:
        ranked = f"""select key, ring, split, holdout, n, min(turn) as turn from (
                        {ranked} union all by name {nearest(samples, group)}) group by all"""
    connection.execute(f"create or replace temp table found as {ranked}")
    rules = [f"(r.{theirs} <> s.{own}) is not false" for own, theirs in kept_apart(columns)]
    licences = [column for column in ("licence_query", "licence_target") if column in columns]
    rules += [f"joinable(r.{theirs}, s.{own}) is not false" for own in licences for theirs in licences]
    wanted = f"{min_demos} + (md5_number_upper(concat_ws('|', {seed}, key)) % {max_demos - min_demos + 1})::integer"
    shared = [column for column in DEMO_COLUMNS if column in columns]
    lists = "".join(f", list(r.{column} order by o.shuffled) as demo_{column}" for column in shared)
    connection.execute(
        f"""create or replace temp table {samples} as
            with fitting as (
                select f.*, row_number() over (partition by f.key, r.family order by f.turn) as again
                from found f join ring r using (ring, split, holdout, n) join {samples} s on s.key = f.key
                where {" and ".join(rules)}),
            counted as (
                select *, least(count(*) over (partition by key), {wanted}) as demos,
                       row_number() over (partition by key order by turn) as nth
                from fitting where again = 1),
            ordered as (
                select *, md5_number_lower(concat_ws('|', {seed}, key, n)) as shuffled from counted
                where nth <= demos and demos >= {min_demos}),
            told as (
                select o.key, any_value(o.demos)::integer as demos{lists}
                from ordered o join ring r using (ring, split, holdout, n) group by o.key)
            select s.*, coalesce(t.demos, 0) as demos, t.* exclude (key, demos)
            from {samples} s left join told t using (key)"""
    )
    connection.execute("drop table found; drop table ring")


def following(samples: str, group: str, seed: int, max_demos: int) -> str:
    """SQL: for each sample the candidates after its position on the ring, as (key, ring, split, holdout, n, turn)."""
    return f"""
        with turned as (  -- once around: the first of each ring stands behind its last as well
            select ring, split, holdout, h, n, size from ring
            union all select ring, split, holdout, h + {RING}, n, size from ring where n = 0),
        begun as (
            select key, {group} as ring, split, holdout, md5_number_lower(concat_ws('|', {seed}, key)) % {RING} as h
            from {samples}),
        first as (
            select b.key, b.ring, b.split, b.holdout, t.n, t.size
            from begun b asof join turned t
            on b.ring = t.ring and b.split = t.split and b.holdout = t.holdout and b.h <= t.h)
        select key, ring, split, holdout, (n + turn) % size as n, turn
        from first, range({max_demos + SPARE}) r(turn) where turn < size"""


def nearest(samples: str, group: str) -> str:
    """SQL: for each sample the candidates of its ring whose query is among its query's neighbours, nearest first.

    Their turns are negative, so that they come before those that only follow on the ring.
    """
    return f"""
        select s.key, r.ring, r.split, r.holdout, r.n, n.rank - 1000000 as turn
        from (select key, {group} as ring, split, holdout, slot_query from {samples}) s
        join neighbours n on n.asset_id = s.slot_query
        join ring r on r.slot_query = n.other and r.ring = s.ring and r.split = s.split and r.holdout = s.holdout
        qualify row_number() over (partition by s.key order by n.rank, r.n) <= {SPARE} * 4"""


def kept_apart(columns: set[str]) -> list[tuple[str, str]]:
    """Pairs of columns, of the sample and of a candidate, that must not hold the same value."""
    families: list[str] = [column for column in ("family", "family2") if column in columns]
    media: list[str] = [column for column in ("near_query", "near_target") if column in columns]
    media = media or [name for name in ("slot_query", "slot_target") if name in columns]
    return [(own, theirs) for group in (families, media) for own in group for theirs in group]
