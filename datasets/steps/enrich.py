"""Step 2: assets -> `signals`. One commit for each partition and operator, so that a new operator measures alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codi2_datasets.engine import spread
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.image import decode_image
from codi2_datasets.operators import Operator, operators
from codi2_datasets.progress import progress
from codi2_storage.catalog import Catalog
from codi2_storage.manifests import Writer, committed
from codi2_storage.store import Store

DECODE: dict[str, Callable[[bytes], np.ndarray]] = {
    "image": lambda data: np.asarray(decode_image(data)),
    "audio": decode_audio,
}


@dataclass(frozen=True)
class Measurement:
    """One operator over the media of one asset shard; `assets` is (asset_id, offset, bytes)."""

    root: Store
    id: str
    operator: str
    shard: str
    assets: tuple[tuple[str, int, int], ...]


def enrich(store: Store, ingests: list[str], workers: int) -> list[str]:
    """Measure every asset of the named ingests with every operator of its modality. Returns the commits' ids."""
    ids, todo = [], []
    for measurement in measurements(store, ingests):
        ids.append(measurement.id)
        if not committed(store, measurement.id, "ingest"):
            todo.append(measurement)
    if todo:
        with progress("enrich", sum(len(item.assets) for item in todo), "assets") as advance:
            for item, _ in spread(measure, todo, workers):
                advance(len(item.assets))
    return sorted(ids)


def measurements(store: Store, ingests: list[str]) -> list[Measurement]:
    with Catalog(store).connect(only=ingests) as connection:
        shards = connection.execute(
            """select shard, modality, list((asset_id, "offset", bytes) order by "offset")
               from ingested where shard is not null group by all order by shard, modality"""
        ).fetchall()
    return [
        Measurement(store, measurement_id(shard, operator), operator.name, shard, tuple(assets))
        for shard, modality, assets in shards
        for operator in operators().values()
        if operator.modality == modality
    ]


def measurement_id(shard: str, operator: Operator) -> str:
    partition = shard.removeprefix("assets/").removesuffix(".tar")
    return f"{partition}-{operator.name}-{operator.version}"


def measure(item: Measurement) -> int:
    """Run one operator over one shard and commit its signals. Returns the number of assets measured."""
    start = time.perf_counter()
    operator = operators()[item.operator]
    ranges = [(offset, offset + size) for _, offset, size in item.assets]
    rows, rejects = [], []
    decode = DECODE[operator.modality]
    for (asset_id, _, _), data in zip(item.assets, item.root.read_ranges(item.shard, ranges), strict=True):
        head = {"asset_id": asset_id, "op": operator.name, "op_version": operator.version}
        try:
            rows += [{**head, "name": name, "value": value} for name, value in operator.measure(decode(data)).items()]
        except MediaError as error:
            reject = {"build_id": item.id, "subject": asset_id, "stage": "enrich", "op": operator.name}
            rejects.append({**reject, "reason": "unreadable", "error": str(error)})
    run = {"build_id": item.id, "stage": "enrich", "op": operator.name, "op_version": operator.version, "params": "{}"}
    counts = {"rows_in": len(item.assets), "rows_out": len(item.assets) - len(rejects), "rejected": 0}
    with Writer(item.root, item.id, "ingest") as writer:
        writer.append("signals", rows)
        writer.append("rejects", rejects)
        writer.append("op_runs", [{**run, **counts, "failed": len(rejects), "seconds": time.perf_counter() - start}])
    return counts["rows_out"]
