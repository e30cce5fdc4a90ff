"""The reply of the train sample whose prompt is most like the asked one: what can be had by looking it up.

Prompts are compared by their words (TF-IDF) and by the last medium they show (its thumbnail among the signals): the sum
of both cosines. Nothing of train is decoded but the replies that are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi2_model.evaluation.baselines import prompt_similarity
from codi2_model.evaluation.data import LoadedSample, by_hash, load_samples, train_answers
from codi2_storage.catalog.catalog import Catalog

THUMBS = ("thumb", "sound_thumb")
MOST = 4_000  # train samples of a task that are searched, taken by hash


def nearest_train(
    catalog: Catalog, build: str, task: str, samples: Sequence[LoadedSample], seed: int
) -> dict[str, LoadedSample]:
    """sample id -> the nearest train sample of the task; empty where train holds none."""
    answers = train_answers(catalog, build, task, seed)
    kept = set(by_hash((answer.row.sample_id for answer in answers), seed)[:MOST])
    train = [answer for answer in answers if answer.row.sample_id in kept]
    if not train or not samples:
        return {}
    words = [_words(sample) for sample in samples]
    alike = prompt_similarity(words, [answer.prompt for answer in train])
    shown = last_media(catalog, build, task)
    thumbs = thumbnails(catalog, build, shown)
    alike = alike + cosines(
        [thumbs.get(shown.get(sample.row.sample_id, "")) for sample in samples],
        [thumbs.get(shown.get(answer.row.sample_id, "")) for answer in train],
    )
    chosen = [train[int(row.argmax())].row for row in alike]
    loaded = load_samples(catalog.store, chosen)
    return {s.row.sample_id: loaded[row.sample_id] for s, row in zip(samples, chosen, strict=True)}


def _words(sample: LoadedSample) -> str:
    parts = [part for message in sample.prompt for part in message["content"]]
    return " ".join(part["text"] for part in parts if part["type"] == "text")


def last_media(catalog: Catalog, build: str, task: str) -> dict[str, str]:
    """sample id -> asset id of the last medium in its prompt."""
    table = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id)
           select s.sample_id, arg_max(p.asset_id, p.position) as asset_id
           from samples s join turns t using (sample_id) join parts p on p.sample_id = s.sample_id and p.turn < t.last
           where s.task = ? and s.split in ('train', 'test') and p.modality <> 'text' group by 1""",
        [task],
        build=build,
    )
    return {row["sample_id"]: row["asset_id"] for row in table.to_pylist()}


def thumbnails(catalog: Catalog, build: str, shown: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    """asset id -> its thumbnail, for media that have one among their signals (derived ones have none)."""
    if not shown:
        return {}
    table = catalog.sql(
        "select asset_id, any_value(vector) as vector from signals where list_contains(?, name) group by 1",
        [list(THUMBS)],
        build=build,
    )
    wanted = set(shown.values())
    return {
        row["asset_id"]: np.asarray(row["vector"], np.float32)
        for row in table.to_pylist()
        if row["asset_id"] in wanted and row["vector"]
    }


def cosines(queries: Sequence[Any | None], train: Sequence[Any | None]) -> NDArray[np.float64]:
    """(queries, train) cosine of centred vectors; 0 where either has none or their lengths differ."""
    found = np.zeros((len(queries), len(train)))
    for length in sorted({len(vector) for vector in train if vector is not None}):
        at = [i for i, vector in enumerate(train) if vector is not None and len(vector) == length]
        asked = [i for i, vector in enumerate(queries) if vector is not None and len(vector) == length]
        if not asked:
            continue
        known = np.array([train[i] for i in at], np.float64)
        middle = known.mean(0)
        found[np.ix_(asked, at)] = (
            _unit(np.array([queries[i] for i in asked], np.float64) - middle) @ _unit(known - middle).T
        )
    return found


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
