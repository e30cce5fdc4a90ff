"""Data access of evaluations: held-out samples picked by hash, train answers, media; read through the catalog.

Independent of models. Media values are RGB `PIL.Image`, mono float32 arrays at 16 kHz, and videos as uint8 arrays (frames,
height, width, 3) at 8 frames per second.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.formats.sample import Sample
from codi2_datasets.media.samples import conversation, members_by_sample
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

MAX_TRAIN_TEXTS = 20_000  # maximum train samples per task for the nearest-neighbour baseline, picked by hash


class EvaluationError(ValueError):
    """An evaluation is not possible on this build; the message says why."""


@dataclass(frozen=True)
class SampleRow:
    """A row of the table `samples`. meta: attributes of the target from the planner."""

    sample_id: str
    task: str
    split: str
    holdout: str
    shard: str
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedSample:
    """A sample with its media. Media parts of `prompt` (messages) and `reply` (parts) have a `value`."""

    row: SampleRow
    prompt: list[dict[str, Any]]
    reply: list[dict[str, Any]]  # content parts of the last assistant message

    @property
    def target(self) -> dict[str, Any]:
        """The part that is judged: the first medium of the reply, or else its text."""
        media = [part for part in self.reply if part["type"] != "text"]
        return media[0] if media else {"type": "text", "text": text_of(self.reply)}


def text_of(content: Iterable[dict[str, Any]]) -> str:
    """The concatenated text parts of a content list."""
    return "".join(part["text"] for part in content if part["type"] == "text")


def by_hash(ids: Iterable[str], seed: int) -> list[str]:
    """Ids in a pseudo-random order by hash of the seed."""
    return sorted(ids, key=lambda value: (hashlib.sha256(f"{seed}:{value}".encode()).digest(), value))


def sample_rows(catalog: Catalog, build: str | None, split: str) -> list[SampleRow]:
    """All samples of a split of a build, ordered by id."""
    table = catalog.sql(
        "select sample_id, task, split, holdout, shard, meta from samples where split = ? order by sample_id",
        [split],
        build=build,
    )
    return [
        SampleRow(**{**row, "holdout": row["holdout"] or "", "meta": json.loads(row["meta"] or "{}")})
        for row in table.to_pylist()
    ]


def answerable(
    catalog: Catalog, build: str | None, rows: Sequence[SampleRow], modalities: Iterable[str]
) -> tuple[list[SampleRow], dict[str, str]]:
    """(rows whose modalities a model supports, task without such rows -> reason)."""
    supported = {"text", *modalities}
    table = catalog.sql(
        "select sample_id, list(distinct modality) as used from parts group by sample_id", build=build
    ).to_pylist()
    unsupported = {row["sample_id"]: sorted(set(row["used"]) - supported) for row in table}
    kept = [row for row in rows if not unsupported.get(row.sample_id)]
    left_out: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        left_out[row.task] |= set(unsupported.get(row.sample_id, ()))
    missing = sorted({row.task for row in rows} - {row.task for row in kept})
    return kept, {task: f"the model does not support {' and '.join(sorted(left_out[task]))}" for task in missing}


def pick(rows: Sequence[SampleRow], limit: int, seed: int) -> list[SampleRow]:
    """At most `limit` rows per task, picked by hash of the seed; ordered by task and hash."""
    by_id = {row.sample_id: row for row in rows}
    tasks: dict[str, list[SampleRow]] = defaultdict(list)
    for sample_id in by_hash(by_id, seed):
        row = by_id[sample_id]
        if len(tasks[row.task]) < limit:
            tasks[row.task].append(row)
    return [row for task in sorted(tasks) for row in tasks[task]]


def load_samples(store: Store, rows: Iterable[SampleRow]) -> dict[str, LoadedSample]:
    """Read samples from their shards, each shard once. Raises EvaluationError for a missing sample or broken shard."""
    by_shard: dict[str, dict[str, SampleRow]] = defaultdict(dict)
    for row in rows:
        by_shard[row.shard][row.sample_id] = row
    loaded: dict[str, LoadedSample] = {}
    for shard in sorted(by_shard):
        for sample_id, members in _read_members(store, shard, set(by_shard[shard])).items():
            loaded[sample_id] = _assemble(by_shard[shard][sample_id], members)
        missing = sorted(set(by_shard[shard]) - set(loaded))
        if missing:
            raise EvaluationError(f"shard {shard}: lacks sample {missing[0]} of the catalog")
    return loaded


def _read_members(store: Store, shard: str, keys: set[str]) -> dict[str, dict[str, bytes]]:
    try:
        with store.open_read(shard) as file:
            return dict(members_by_sample(file, keys))
    except (tarfile.TarError, FileNotFoundError) as error:
        raise EvaluationError(f"shard {shard}: cannot be read: {error}") from error


def _assemble(row: SampleRow, members: dict[str, bytes]) -> LoadedSample:
    try:
        messages = conversation(Sample.from_json(members["json"]), members)
    except KeyError as error:
        raise EvaluationError(f"sample {row.sample_id}: part {error.args[0]} is missing in its shard") from error
    if not messages or messages[-1]["role"] != "assistant":
        raise EvaluationError(f"sample {row.sample_id}: the last message must be the assistant's")
    return LoadedSample(row, messages[:-1], messages[-1]["content"])


@dataclass(frozen=True)
class TrainAnswer:
    """Texts of the prompt and of the reply of a train sample."""

    row: SampleRow
    prompt: str
    reply: str


def train_answers(catalog: Catalog, build: str | None, task: str, seed: int) -> list[TrainAnswer]:
    """Train samples of a task (at most MAX_TRAIN_TEXTS, by hash) with their texts, without media."""
    rows = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id)
           select s.sample_id, s.task, s.split, s.holdout, s.shard, s.meta,
                  coalesce(string_agg(p.text, ' ' order by p.position) filter (p.turn < t.last), '') as prompt,
                  coalesce(string_agg(p.text, '' order by p.position) filter (p.turn = t.last), '') as reply
           from samples s join turns t using (sample_id) join parts p using (sample_id)
           where s.split = 'train' and s.task = ? group by all order by s.sample_id""",
        [task],
        build=build,
    ).to_pylist()
    answers = {}
    for row in rows:
        prompt, reply = row.pop("prompt"), row.pop("reply")
        meta = json.loads(row.pop("meta") or "{}")
        answers[row["sample_id"]] = TrainAnswer(
            SampleRow(**{**row, "holdout": row["holdout"] or ""}, meta=meta), prompt, reply
        )
    kept = sorted(by_hash(answers, seed)[:MAX_TRAIN_TEXTS])
    return [answers[sample_id] for sample_id in kept]
