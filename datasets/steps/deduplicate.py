"""Near-duplicates, part of `select`: groups assets that look, sound or read the same.

Signals describe each asset; the recipe's rules set how similar two must be. Assets linked by pairs of any rule of their
modality form a group, named by its first asset in the order of the recipe's corpora: column `near`.
"""

from __future__ import annotations

import time

import duckdb
import numpy as np
import pyarrow as pa

from codi2_datasets.dedup import groups, minhash, perceptual, semantic
from codi2_datasets.dedup.pairs import Pairs
from codi2_datasets.dedup.signals import NEEDS, as_matrix, signals_of
from codi2_datasets.recipe_schema import Duplicates, Recipe
from codi2_datasets.steps.ledger import reject

# Share of equal shingles, or cosine, from which on two are near-duplicates; set by inspecting the pairs
THRESHOLDS = {"minhash": 0.8, "image": 0.97, "audio": 0.99, "text": 0.97}


def group_near(connection: duckdb.DuckDBPyConnection, build_id: str, recipe: Recipe) -> None:
    """Add the column near to `selected`; if a rule drops, keep only the first of each group."""
    connection.execute(
        "alter table selected add column if not exists near varchar; update selected set near = asset_id"
    )
    for modality in sorted({rule.modality for rule in recipe.duplicates}):
        start = time.perf_counter()
        rules = [rule for rule in recipe.duplicates if rule.modality == modality]
        ids = in_order(connection, modality)
        pairs = np.concatenate([pairs_of(connection, rule, ids) for rule in rules])
        first = groups(len(ids), pairs)
        named = pa.table({"asset_id": ids, "near": [ids[n] for n in first.tolist()]})
        connection.register("grouped", named)
        connection.execute(
            "update selected set near = g.near from grouped g where g.asset_id = selected.asset_id and g.near <> g.asset_id"
        )
        connection.unregister("grouped")
        dropping = any(rule.drop for rule in rules)
        connection.execute(
            "create temp table dropped as select asset_id, near as error from selected where modality = ? and near <> asset_id and ?",
            [modality, dropping],
        )
        params = {
            "modality": modality,
            "rules": [[rule.by, rule.threshold, rule.drop] for rule in rules],
            "pairs": len(pairs),
        }
        reject(connection, build_id, "near_duplicate", params, "a near-duplicate of another asset", start)


def in_order(connection: duckdb.DuckDBPyConnection, modality: str) -> list[str]:
    """The ids of a modality, ordered by the recipe's corpora."""
    rows = connection.execute(
        """select asset_id from selected join corpus_rank using (corpus) where modality = ? order by rank, asset_id""",
        [modality],
    ).fetchall()
    return [name for (name,) in rows]


def pairs_of(connection: duckdb.DuckDBPyConnection, rule: Duplicates, ids: list[str]) -> Pairs:
    """Pairs (i, j) of indices in `ids` that are near-duplicates by the rule."""
    op, names = NEEDS[rule.modality, rule.by]
    places, columns = signals_of(connection, op, names, ids)
    if len(places) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = pairs_among(rule, [ids[place] for place in places.tolist()], columns)
    return places[pairs]


def pairs_among(rule: Duplicates, ids: list[str], columns: dict[str, pa.ChunkedArray]) -> Pairs:
    if rule.by == "minhash":
        words = columns["minhash"].to_pylist()
        return minhash.near_duplicates(minhash.signatures(words), rule.threshold or THRESHOLDS["minhash"])
    if rule.by == "semantic":
        vectors = as_matrix(columns[f"{rule.modality}_embedding"])
        return semantic.near_duplicates(vectors, rule.threshold or THRESHOLDS[rule.modality])
    if rule.modality == "audio":
        hashes, thumbs = perceptual.hashes(columns["fingerprint"].to_pylist()), as_matrix(columns["sound_thumb"])
        return perceptual.near_duplicates(ids, hashes, thumbs, perceptual.SOUND.bits, perceptual.SOUND.colour)
    hashes, thumbs = perceptual.hashes(columns["phash"].to_pylist()), as_matrix(columns["thumb"])
    pairs = perceptual.near_duplicates(ids, hashes, thumbs)
    details = {place: columns["detail"][place].as_py() for place in np.unique(pairs).tolist()}
    return perceptual.same_detail(pairs, details)


def keep_apart(connection: duckdb.DuckDBPyConnection, build_id: str) -> None:
    """Reject from train what is near a held-out asset, and from validation what is near a test asset."""
    start = time.perf_counter()
    connection.execute(
        """create temp table dropped as
           with order_of(split, place) as (values ('train', 0), ('validation', 1), ('test', 2)),
           strictest as (
               select near, max(place) as place from selected join order_of using (split) group by near
               having count(distinct split) > 1)
           select s.asset_id, s.near as error
           from selected s join order_of o using (split) join strictest m using (near) where o.place < m.place"""
    )
    reject(connection, build_id, "held_out", {}, "a near-duplicate of a held-out asset", start)
