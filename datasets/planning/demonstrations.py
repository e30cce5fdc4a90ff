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

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

STRATEGIES = ("relation", "task", "nearest")
SPARE = 4  # extra candidates to consider: some are of the sample's own family or of one already taken
RING = 2**62
DEMO_COLUMNS = ("slot_query", "slot_target", "text_query", "text_target", "source_asset")


@dataclass(frozen=True)
class Pairing:
    """How samples get demonstrations. `marked`: slots whose near-duplicates and licences are compared, as `selected` has them;
    without any, the assets themselves are.

    Raises ValueError for invalid numbers or an unknown strategy.
    """

    seed: int
    min_demos: int
    max_demos: int
    strategy: str = "relation"
    marked: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_demos <= self.max_demos:
            raise ValueError(
                f"min_demos {self.min_demos} and max_demos {self.max_demos}: need 0 <= min_demos <= max_demos"
            )
        if self.strategy not in STRATEGIES:
            raise ValueError(f"pairing {self.strategy!r}: known: {', '.join(STRATEGIES)}")

    @property
    def group(self) -> str:
        """SQL for what the members of a pool have in common."""
        return "kind" if self.strategy == "task" else "coalesce(relation, kind)"


def pair(connection: duckdb.DuckDBPyConnection, samples: str, pool: str, pairing: Pairing) -> None:
    """Add to table `samples` the columns demos (their number) and, for each of DEMO_COLUMNS that the pool has, a list.

    `samples` and the table `pool` have key, kind, relation, family, split, holdout and the pool's columns; `family2` is
    used if it exists. `make_rings` made the pool's rings. If fewer than `min_demos` are found, demos is 0.
    """
    seed, min_demos, max_demos, group = pairing.seed, pairing.min_demos, pairing.max_demos, pairing.group
    columns = {column[0] for column in connection.execute(f"select * from {pool} limit 0").description}
    ranked = following(samples, group, seed, max_demos)
    if pairing.strategy == "nearest" and "slot_query" in columns:
        ranked = f"""select key, ring, n, min(turn) as turn from (
                        {ranked} union all by name {nearest(samples, pool, group)}) group by all"""
    connection.execute(
        f"create or replace temp table found as select f.*, r.id from ({ranked}) f join ring r using (ring, n)"
    )
    rules, joins = kept_apart(columns, pairing.marked)
    wanted = f"{min_demos} + (md5_number_upper(concat_ws('|', {seed}, key)) % {max_demos - min_demos + 1})::integer"
    shared = [column for column in DEMO_COLUMNS if column in columns]
    lists = "".join(f", list(r.{column} order by o.shuffled) as demo_{column}" for column in shared)
    connection.execute(
        f"""create or replace temp table {samples} as
            with fitting as (
                select f.*, row_number() over (partition by f.key, r.family order by f.turn) as again
                from found f join {pool} r on r.rowid = f.id join {samples} s on s.key = f.key {joins}
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
                from ordered o join {pool} r on r.rowid = o.id group by o.key)
            select s.*, coalesce(t.demos, 0) as demos, t.* exclude (key, demos)
            from {samples} s left join told t using (key)"""
    )
    connection.execute("drop table found")


def make_rings(connection: duckdb.DuckDBPyConnection, pool: str, pairing: Pairing) -> None:
    """Create `rings` (the candidates of a ring have the same group, split and holdout) and `ring`: the row of each
    candidate, its hash and its place. Nothing wider is sorted.
    """
    connection.execute(
        f"""create or replace temp table rings as
            select *, row_number() over () as ring from (
                select {pairing.group} as of, split, holdout, count(*) as size from {pool} group by all);
            create or replace temp table ring as
            with hashed as (
                select rowid as id, {pairing.group} as of, split, holdout, md5_number_lower(key) % {RING} as h,
                       hash(key) as tie
                from {pool})
            select r.ring, c.id, c.h, row_number() over (partition by r.ring order by c.h, c.tie) - 1 as n
            from hashed c join rings r using (of, split, holdout)"""
    )


def drop_rings(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop what `make_rings` made, if anything."""
    connection.execute("drop table if exists ring; drop table if exists rings")


def following(samples: str, group: str, seed: int, max_demos: int) -> str:
    """SQL: for each sample the candidates after its position on the ring, as (key, ring, n, turn)."""
    return f"""
        with turned as (  -- once around: the first of each ring stands behind its last as well
            select ring, h, n from ring union all select ring, h + {RING}, n from ring where n = 0),
        begun as (
            select s.key, r.ring, r.size, s.h
            from (select key, {group} as of, split, holdout, md5_number_lower(concat_ws('|', {seed}, key)) % {RING} as h
                  from {samples}) s join rings r using (of, split, holdout)),
        first as (
            select b.key, b.ring, b.size, t.n from begun b asof join turned t on b.ring = t.ring and b.h <= t.h)
        select key, ring, (n + turn) % size as n, turn
        from first, range({max_demos + SPARE}) r(turn) where turn < size"""


def nearest(samples: str, pool: str, group: str) -> str:
    """SQL: for each sample the candidates of its ring whose query is among its query's neighbours, nearest first.

    Their turns are negative, so that they come before those that only follow on the ring.
    """
    return f"""
        select s.key, r.ring, r.n, n.rank - 1000000 as turn
        from (select key, {group} as of, split, holdout, slot_query from {samples}) s
        join rings o using (of, split, holdout) join neighbours n on n.asset_id = s.slot_query
        join {pool} c on c.slot_query = n.other join ring r on r.id = c.rowid and r.ring = o.ring
        qualify row_number() over (partition by s.key order by n.rank, r.n) <= {SPARE} * 4"""


def kept_apart(columns: set[str], marked: Sequence[str]) -> tuple[list[str], str]:
    """SQL rules for a candidate `r` of a sample `s`, and the joins with `selected` that they need."""
    families = [column for column in ("family", "family2") if column in columns]
    rules = [f"(r.{theirs} <> s.{own}) is not false" for own in families for theirs in families]
    slots = [name for name in ("slot_query", "slot_target") if name in columns]
    if not marked:
        return [*rules, *(f"(r.{theirs} <> s.{own}) is not false" for own in slots for theirs in slots)], ""
    joins = [
        f"left join selected {side}_{name} on {side}_{name}.asset_id = {side}.slot_{name}"
        for side in "rs"
        for name in marked
    ]
    near = {f"{side}_{name}": f"coalesce({side}_{name}.near, {side}.slot_{name})" for side in "rs" for name in marked}
    for own in marked:
        for theirs in marked:
            rules.append(f"({near[f'r_{theirs}']} <> {near[f's_{own}']}) is not false")
            rules.append(f"joinable(r_{theirs}.licence, s_{own}.licence) is not false")
    return rules, " ".join(joins)
