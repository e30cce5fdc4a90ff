"""Step 2: assets -> `signals`. One commit per partition and set of operators, so that a new operator is measured alone.

Results of the same operator version on the same asset are reused instead of measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from codi2_datasets.formats.hashing import digest
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import decode_audio
from codi2_datasets.media.image import decode_image
from codi2_datasets.media.video import decode_video
from codi2_datasets.operators import Operator, Signals, operators
from codi2_datasets.recipe_schema import Recipe
from codi2_datasets.runtime.progress import progress
from codi2_datasets.runtime.ray_executor import ray_map
from codi2_storage.commits.manifests import Commit, Manifest, Writer, commits, read_rows
from codi2_storage.store import Store
from codi2_storage.tables import TABLES, as_table

DECODE: dict[str, Callable[[bytes], np.ndarray]] = {
    "image": lambda data: np.asarray(decode_image(data)),
    "audio": decode_audio,
    "video": decode_video,
}
SIGNAL_COLUMNS = ", ".join(TABLES["signals"].names)


@dataclass(frozen=True)
class Measurement:
    """Some operators over the media of one partition. `known`: rows of `signals` that need no measuring."""

    root: Store
    id: str
    partition: str
    ingested: tuple[Manifest, ...]
    operators: tuple[str, ...]
    known: pa.Table | None = None


def enrich(store: Store, recipe: Recipe, ingests: list[str], workers: int) -> list[str]:
    """Measure the assets of the named ingests with the recipe's operators.

    Returns the ids of the commits with the signals.
    """
    present = commits(store, "ingest")
    ids, todo = [], []
    for partition in (c for c in present if c.id in set(ingests) and c.info.get("modalities")):
        wanted = {operator.name: operator for operator in operators_for(recipe, partition)}
        for commit in (c for c in present if c.info.get("measures") == partition.id):
            did = {tuple(item) for item in commit.info["operators"]}
            done = [name for name, operator in wanted.items() if (name, operator.version) in did]
            if done:
                ids.append(commit.id)
            for name in done:
                del wanted[name]
        if wanted:
            todo.append(measurement(store, partition, sorted(wanted)))
    if todo:
        known = Known(present)
        with progress("enrich", len(todo), "partitions") as advance:
            items = (known.given_to(item) for item in todo)
            for item, _ in ray_map(measure, items, workers):
                ids.append(item.id)
                advance(1)
    return sorted(set(ids))


def operators_for(recipe: Recipe, partition: Commit) -> Iterator[Operator]:
    for choice in recipe.signals:
        operator = operators()[choice.op]
        chosen = not choice.corpora or partition.info["corpus"] in choice.corpora
        if chosen and operator.modality in partition.info["modalities"]:
            yield operator


def measurement(store: Store, partition: Commit, names: list[str]) -> Measurement:
    versions = [[name, operators()[name].version] for name in names]
    ingested = tuple(file for file in partition.files if file.table == "ingested")
    return Measurement(store, f"{partition.id}-{digest(versions)[:8]}", partition.id, ingested, tuple(names))


class Known:
    """Signals measured by earlier builds."""

    def __init__(self, present: list[Commit]) -> None:
        self.files = [f for c in present if "measures" in c.info for f in c.files if f.table == "signals"]
        self.connection = duckdb.connect(":memory:")
        self.loaded = False

    def given_to(self, item: Measurement) -> Measurement:
        """The measurement, with the known signals of its assets."""
        if not self.files:
            return item
        if not self.loaded:
            self.connection.register("everything", read_rows(item.root, self.files))
            self.connection.execute("create table signals as select distinct on (asset_id, op, name) * from everything")
            self.loaded = True
        assets = read_rows(item.root, item.ingested, ["asset_id"])
        versions = pa.table(
            {"op": list(item.operators), "op_version": [operators()[n].version for n in item.operators]}
        )
        self.connection.register("wanted", assets)
        self.connection.register("versions", versions)
        known = self.connection.execute(
            f"""select {SIGNAL_COLUMNS} from signals semi join wanted using (asset_id)
                semi join versions using (op, op_version) order by asset_id, op, name"""
        ).to_arrow_table()
        return Measurement(**{**item.__dict__, "known": known}) if len(known) else item


def measure(item: Measurement) -> int:
    """Run operators over one partition and commit its signals. Returns the number of assets measured now."""
    start = time.perf_counter()
    assets = read_rows(item.root, item.ingested).to_pylist()
    known = {(row["asset_id"], row["op"]) for row in item.known.to_pylist()} if item.known is not None else set()
    signals: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    media: dict[str, Any] = {}
    fresh = 0
    for name in item.operators:
        operator = operators()[name]
        of_kind = list({row["asset_id"]: row for row in assets if row["modality"] == operator.modality}.values())
        todo = [row for row in of_kind if (row["asset_id"], name) not in known]
        load(item.root, [row for row in todo if row["asset_id"] not in media], media)
        results = run(operator, [media[row["asset_id"]] for row in todo])
        fresh += len(todo)
        head = {"op": name, "op_version": operator.version}
        ledger = {"build_id": item.id, "stage": "enrich", **head}
        failed = 0
        for row, result in zip(todo, results, strict=True):
            if isinstance(result, MediaError):
                failed += 1
                reject = {"build_id": item.id, "subject": row["asset_id"], "stage": "enrich", "op": name}
                rejects.append({**reject, "reason": "unreadable", "error": str(result)})
            else:
                signals += [{"asset_id": row["asset_id"], **head, **signal_row(*pair)} for pair in result.items()]
        counts = {"rows_in": len(of_kind), "rows_out": len(of_kind) - failed, "rejected": 0, "failed": failed}
        runs.append({**ledger, "params": "{}", **counts, "seconds": time.perf_counter() - start})
    table = as_table("signals", signals)
    if item.known is not None:
        table = pa.concat_tables([table, as_table("signals", item.known)])
    info = {"measures": item.partition, "operators": [[name, operators()[name].version] for name in item.operators]}
    with Writer(item.root, item.id, "ingest", info=info) as writer:
        writer.append("signals", table)
        writer.append("rejects", rejects)
        writer.append("op_runs", runs)
    return fresh


def signal_row(name: str, value: float | str | np.ndarray) -> dict[str, Any]:
    """A signal as a row: its name, and its value in the column of its type."""
    if isinstance(value, str):
        return {"name": name, "text": value}
    if isinstance(value, np.ndarray):
        return {"name": name, "vector": value.astype(np.float32)}
    return {"name": name, "value": float(value)}


def load(store: Store, rows: list[dict[str, Any]], media: dict[str, Any]) -> None:
    """Put decoded media, or the decoding error, into `media` by asset id."""
    media |= {row["asset_id"]: row["text"] for row in rows if row["modality"] == "text"}
    stored = [row for row in rows if row["shard"]]
    for shard in sorted({row["shard"] for row in stored}):
        inside = [row for row in stored if row["shard"] == shard]
        ranges = [(row["offset"], row["offset"] + row["bytes"]) for row in inside]
        for row, data in zip(inside, store.read_ranges(shard, ranges), strict=True):
            try:
                media[row["asset_id"]] = DECODE[row["modality"]](data)
            except MediaError as error:
                media[row["asset_id"]] = error


def run(operator: Operator, media: list[Any]) -> list[Signals | MediaError]:
    """The signals of each medium, or the error. If a batch fails, its media are measured one by one."""
    good = [medium for medium in media if not isinstance(medium, MediaError)]
    results: Iterator[Signals | MediaError]
    try:
        results = iter(operator.measure_all(good) if operator.measure_all else [one(operator, m) for m in good])
    except MediaError:
        results = iter([one(operator, medium) for medium in good])
    return [medium if isinstance(medium, MediaError) else next(results) for medium in media]


def one(operator: Operator, medium: Any) -> Signals | MediaError:
    try:
        return operator.measure(medium)
    except MediaError as error:
        return error
