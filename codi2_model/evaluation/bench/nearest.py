"""Baseline nearest_train: the reply of the train sample with the most similar prompt.

The similarity is the sum of two cosines: of the words (TF-IDF), and of the last medium (its thumbnail among the signals). Only
the replies of the results are decoded.
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
MAX_TRAIN_SAMPLES = 4_000  # per task, picked by hash


def nearest_train(
    catalog: Catalog, build: str, task: str, samples: Sequence[LoadedSample], seed: int
) -> dict[str, LoadedSample]:
    """sample id -> nearest train sample of the task; empty if there are no train samples."""
    answers = train_answers(catalog, build, task, seed)
    kept = set(by_hash((answer.row.sample_id for answer in answers), seed)[:MAX_TRAIN_SAMPLES])
    train = [answer for answer in answers if answer.row.sample_id in kept]
    if not train or not samples:
        return {}
    texts = [_prompt_text(sample) for sample in samples]
    similarity = prompt_similarity(texts, [answer.prompt for answer in train])
    media = last_media(catalog, build, task)
    thumbs = thumbnails(catalog, build, media)
    similarity = similarity + cosines(
        [thumbs.get(media.get(sample.row.sample_id, "")) for sample in samples],
        [thumbs.get(media.get(answer.row.sample_id, "")) for answer in train],
    )
    chosen = [train[int(row.argmax())].row for row in similarity]
    loaded = load_samples(catalog.store, chosen)
    return {s.row.sample_id: loaded[row.sample_id] for s, row in zip(samples, chosen, strict=True)}


def _prompt_text(sample: LoadedSample) -> str:
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


def thumbnails(catalog: Catalog, build: str, media: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    """asset id -> thumbnail, for media with one among their signals (derived media have none)."""
    if not media:
        return {}
    table = catalog.sql(
        """select asset_id, any_value(vector) as vector from signals
           where list_contains(?, name) and asset_id in (select unnest(?)) group by 1""",
        [list(THUMBS), sorted(set(media.values()))],
        build=build,
    )
    return {row["asset_id"]: np.asarray(row["vector"], np.float32) for row in table.to_pylist() if row["vector"]}


def cosines(queries: Sequence[Any | None], train: Sequence[Any | None]) -> NDArray[np.float64]:
    """Cosine similarity (queries, train) of centred vectors; 0 for missing vectors and different lengths."""
    similarity = np.zeros((len(queries), len(train)))
    for length in sorted({len(vector) for vector in train if vector is not None}):
        train_rows = [i for i, vector in enumerate(train) if vector is not None and len(vector) == length]
        query_rows = [i for i, vector in enumerate(queries) if vector is not None and len(vector) == length]
        if not query_rows:
            continue
        train_vectors = np.array([train[i] for i in train_rows], np.float64)
        query_vectors = np.array([queries[i] for i in query_rows], np.float64)
        mean = train_vectors.mean(0)
        similarity[np.ix_(query_rows, train_rows)] = _unit(query_vectors - mean) @ _unit(train_vectors - mean).T
    return similarity


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
