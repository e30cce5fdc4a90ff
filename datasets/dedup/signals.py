"""The signals that near-duplicate search compares, read from the metadata tables as arrays."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from codi2_storage.catalog.sql import identifier, literal

NEEDS = {
    ("image", "perceptual"): ("phash", ("phash", "thumb", "detail")),
    ("video", "perceptual"): ("middle_frame", ("phash", "thumb", "detail")),
    ("audio", "perceptual"): ("fingerprint", ("fingerprint", "sound_thumb")),
    ("text", "minhash"): ("minhash", ("minhash",)),
    ("image", "semantic"): ("image_embedding", ("image_embedding",)),
    ("audio", "semantic"): ("audio_embedding", ("audio_embedding",)),
    ("text", "semantic"): ("text_embedding", ("text_embedding",)),
}
WORDS = ("phash", "detail", "fingerprint", "minhash")  # signals that are strings; the others are vectors


def signals_of(
    connection: duckdb.DuckDBPyConnection, op: str, names: tuple[str, ...], ids: list[str]
) -> tuple[np.ndarray, dict[str, pa.ChunkedArray]]:
    """The indices in `ids` that have all of these signals of the operator, and the signals, one column each."""
    connection.register("wanted_ids", pa.table({"asset_id": ids, "place": np.arange(len(ids))}))
    values = ", ".join(
        f"any_value(s.{'text' if name in WORDS else 'vector'}) filter (where s.name = {literal(name)}) as {identifier(name)}"
        for name in names
    )
    table = connection.execute(
        f"""select place, {values} from wanted_ids join signals s using (asset_id)
            where s.op = ? and list_contains(?, s.name)
            group by place having count(distinct s.name) = ? order by place""",
        [op, list(names), len(names)],
    ).to_arrow_table()
    connection.unregister("wanted_ids")
    return table["place"].to_numpy().astype(np.int64), {name: table[name] for name in names}


def as_matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of equal length -> (N, D) float32."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.astype(np.float32, copy=False).reshape(len(column), -1)
