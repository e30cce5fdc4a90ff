"""Nearest neighbours of every asset by its embedding, within its split: for pairing by similarity."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from codi2_datasets.dedup import semantic
from codi2_datasets.dedup.signals import NEEDS, as_matrix, signals_of

K = 48  # neighbours of each: some are of its own family, or no candidates


def make_neighbours(connection: duckdb.DuckDBPyConnection) -> None:
    """Create table `neighbours`: asset_id, other, rank from 0, cosine. Assets without an embedding have no rows."""
    connection.execute(
        "create or replace temp table neighbours (asset_id varchar, other varchar, rank integer, cosine double)"
    )
    sides = connection.execute(
        "select distinct modality, split, holdout from selected where modality <> 'text' order by all"
    ).fetchall()
    for modality, split, holdout in sides:
        if (modality, "semantic") not in NEEDS:
            continue
        ids = [name for (name,) in connection.execute(
            "select asset_id from selected where modality = ? and split = ? and holdout = ? order by asset_id",
            [modality, split, holdout]).fetchall()]  # fmt: skip
        op, names = NEEDS[modality, "semantic"]
        places, columns = signals_of(connection, op, names, ids)
        if len(places) < 2:
            continue
        indices, cosines = semantic.neighbours(as_matrix(columns[names[0]]), K)
        known, k = np.array(ids)[places], indices.shape[1]
        near = {"asset_id": np.repeat(known, k), "other": known[indices.ravel()]}
        near |= {"rank": np.tile(np.arange(k), len(known)), "cosine": cosines.ravel()}
        connection.register("found_near", pa.table(near))
        connection.execute("insert into neighbours by name select * from found_near")
        connection.unregister("found_near")
