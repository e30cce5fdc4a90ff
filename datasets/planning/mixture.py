"""Mixture: the exact number of samples of each task, and the choice of candidates by weights.

Weights never lose a sample: a stratum (corpus, licence, language, or a task's own `balance`) that runs out leaves its
places to the others, so that the requested number is reached whenever there are enough candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import duckdb

from codi2_datasets.recipe_schema import Mixture, TaskChoice


def shares(total: int, room: dict[str, int], weights: dict[str, float], temperature: float) -> dict[str, int]:
    """Divide `total` by weight * room^(1 / temperature), none getting more than its room; largest remainders first.

    Equal remainders are ordered by name. If the total room is too small, everything gets its room.
    """
    allotted = dict.fromkeys(room, 0)
    pull = {name: weights.get(name, 1.0) * size ** (1 / temperature) if size else 0.0 for name, size in room.items()}
    left = min(total, sum(size for name, size in room.items() if pull[name] > 0))
    while left > 0:
        open_ = [name for name in sorted(room) if pull[name] > 0 and allotted[name] < room[name]]
        whole = sum(pull[name] for name in open_)
        exact = {name: left * pull[name] / whole for name in open_}
        full = [name for name in open_ if allotted[name] + exact[name] >= room[name]]
        if full:  # full strata are fixed, and the rest is divided again
            for name in full:
                left -= room[name] - allotted[name]
                allotted[name] = room[name]
            continue
        for name in open_:
            allotted[name] += math.floor(exact[name])
        rest = left - sum(math.floor(exact[name]) for name in open_)
        for name in sorted(open_, key=lambda name: (-(exact[name] % 1), name))[:rest]:
            allotted[name] += 1
        left = 0
    return allotted


def choose(connection: duckdb.DuckDBPyConnection, task: str, seed: int, choice: TaskChoice, mixture: Mixture) -> None:
    """Create `taken`: as many of `candidates` as requested, over held-out kinds, `balance` and the mixture's strata.

    Columns: the row of the candidate (`id`), the hash of its key (`h`) and how often it was taken before (`round`).
    Within a stratum the order is by hash. Between strata, place n of a stratum with weight w is ranked n / w, which
    draws from all in proportion to their weights. If there are too few candidates, they are repeated in other
    phrasings, each phrasing at most once.
    """
    wanted = {"train": choice.train, "validation": choice.validation, "test": choice.test}
    connection.execute("create or replace temp table wanted (split varchar, total integer)")
    connection.executemany("insert into wanted values (?, ?)", list(wanted.items()))
    source, weight, strata, names = weigh(connection, mixture)
    spread = "1.0" if choice.temperature is None else f"pow(count(*) over strata, {1 / choice.temperature!r})"
    connection.execute(
        f"""create or replace temp table taken as
            with hashed as (  -- no wider than this: it is sorted
                select c.id, c.split, c.holdout, c.balance, {weight} as weight{strata}, w.total as wanted,
                       p.total as phrasings, md5_number_lower(said) as h, hash(said) as tie
                from (select *, concat_ws('|', {seed}, $task, key) as said from ({source})) c
                join wanted w using (split)
                join (select kind, sum(total) as total from phrasings group by kind) p on p.kind = c.kind
                where {weight} > 0),
            again as (
                select h.*, round
                from hashed h join (select split, count(*) as size from hashed group by split) s using (split),
                     range(least(phrasings, ceil(wanted / size))::bigint) r(round)),
            even as (  -- those behind so many of their own stratum cannot be among the first of all
                select *, row_number() over (strata order by h, tie) as turn_of, turn_of / (weight * {spread}) as place
                from again window strata as (partition by split, holdout, balance, round{strata})
                qualify turn_of <= wanted)
            select id, h, round from even
            qualify row_number() over (partition by split order by round, place, h, tie) <= wanted""",
        {"task": task, **names},
    )


def make_chosen(connection: duckdb.DuckDBPyConnection, number: int = 0, ranges: int = 1) -> None:
    """Create `chosen`: the candidates that are `taken`, with `h` and `round`. Of several ranges, those of range `number`."""
    connection.execute(
        f"""create or replace temp table chosen as
            select c.* replace (c.key || '#' || t.round as key), t.h, t.round
            from candidates c join taken t on t.id = c.rowid where t.h % {ranges} = {number}"""
    )


def weigh(connection: duckdb.DuckDBPyConnection, mixture: Mixture) -> tuple[str, str, str, dict[str, str]]:
    """SQL for the candidates with the columns that weights use, for the weight of a candidate, and for the strata's
    columns; and the names of strata that the weight binds.
    """
    weighted = {"corpus": mixture.corpora, "licence": mixture.licences, "tongue": mixture.languages}
    weighted = {name: weights for name, weights in weighted.items() if weights}
    if not weighted:
        return "select *, rowid as id from candidates", "1.0", "", {}
    columns = {column[0] for column in connection.execute("select * from candidates limit 0").description}
    target = next((name for name in ("slot_target", "source_asset", "slot_query") if name in columns), "null")
    inputs = "derive_target.inputs[1]" if "derive_target" in columns else "null"
    expressions = {
        "corpus": "coalesce(a.corpus, '')",
        "licence": "coalesce(a.licence, '')",
        "tongue": "coalesce(c.language, 'en')" if "language" in columns else "'en'",
    }
    added = "".join(f", {expressions[name]} as mix_{name}" for name in weighted)
    source = f"""select c.*, c.rowid as id{added} from candidates c
                 left join selected a on a.asset_id = coalesce(if({inputs} is null, c.{target}, null), {inputs})"""
    source = source.replace("c.null", "null")
    weight = " * ".join(lookup(name, weights.values()) for name, weights in weighted.items())
    names = {f"{name}{n}": key for name, weights in weighted.items() for n, key in enumerate(weights)}
    return source, weight, "".join(f", mix_{name}" for name in weighted), names


def lookup(name: str, weights: Iterable[float]) -> str:
    """SQL for the weight of a stratum, bound as name0, name1, ...; 1 if it is not listed."""
    branches = " ".join(f"when ${name}{n} then {weight!r}" for n, weight in enumerate(weights))
    return f"(case mix_{name} {branches} else 1.0 end)"
