"""What an evaluation reads: held-out samples picked by hash, train answers, media by asset; all through the catalog.

Nothing here knows a model. Media come as values: RGB `PIL.Image`, mono float32 arrays at 16 kHz, clips as uint8 arrays
(frames, height, width, 3), 8 frames a second.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from codi2_datasets.formats.sample import Sample
from codi2_datasets.media.video import decode_video
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

MAX_TRAIN_TEXTS = 20_000  # a task's train samples that the nearest-neighbour baseline searches, taken by hash


class EvaluationError(ValueError):
    """The build cannot be evaluated as asked; the message says why."""


@dataclass(frozen=True)
class SampleRow:
    """One row of the samples table, with what the planner knew of its target."""

    sample_id: str
    task: str
    split: str
    holdout: str
    shard: str
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedSample:
    """A sample with its media. `prompt` and `reply` are messages whose media parts carry `value`."""

    row: SampleRow
    prompt: list[dict[str, Any]]
    reply: list[dict[str, Any]]  # content parts of the last assistant message

    @property
    def target(self) -> dict[str, Any]:
        """What is judged: the reply's first medium, else its text."""
        media = [part for part in self.reply if part["type"] != "text"]
        return media[0] if media else {"type": "text", "text": text_of(self.reply)}


def text_of(content: Iterable[dict[str, Any]]) -> str:
    """The text of a content list, media left out."""
    return "".join(part["text"] for part in content if part["type"] == "text")


def by_hash(ids: Iterable[str], seed: int) -> list[str]:
    """Ids in an order that the seed decides and nobody's taste does."""
    return sorted(ids, key=lambda value: (hashlib.sha256(f"{seed}:{value}".encode()).digest(), value))


def sample_rows(catalog: Catalog, build: str | None, split: str) -> list[SampleRow]:
    """All samples of a split, ordered by id."""
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
    """The rows whose parts a model of these modalities can take and make; and for each task that loses all of its rows,
    why it does."""
    known = {"text", *modalities}
    table = catalog.sql(
        "select sample_id, list(distinct modality) as used from parts group by sample_id", build=build
    ).to_pylist()
    lacking = {row["sample_id"]: sorted(set(row["used"]) - known) for row in table}
    kept = [row for row in rows if not lacking.get(row.sample_id)]
    left_out: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        left_out[row.task] |= set(lacking.get(row.sample_id, ()))
    lost = sorted({row.task for row in rows} - {row.task for row in kept})
    return kept, {task: f"the model has no {' and no '.join(sorted(left_out[task]))}" for task in lost}


def pick(rows: Sequence[SampleRow], limit: int, seed: int) -> list[SampleRow]:
    """At most `limit` rows a task, by hash of the seed; ordered by task and that hash."""
    by_id = {row.sample_id: row for row in rows}
    tasks: dict[str, list[SampleRow]] = defaultdict(list)
    for sample_id in by_hash(by_id, seed):
        row = by_id[sample_id]
        if len(tasks[row.task]) < limit:
            tasks[row.task].append(row)
    return [row for task in sorted(tasks) for row in tasks[task]]


def load_samples(store: Store, rows: Iterable[SampleRow]) -> dict[str, LoadedSample]:
    """Read samples from their shards, each shard once. Raises EvaluationError for one that is not in its shard."""
    wanted: dict[str, dict[str, SampleRow]] = defaultdict(dict)
    for row in rows:
        wanted[row.shard][row.sample_id] = row
    loaded: dict[str, LoadedSample] = {}
    for shard in sorted(wanted):
        for sample_id, members in _read_members(store, shard, set(wanted[shard])).items():
            loaded[sample_id] = _assemble(wanted[shard][sample_id], members)
        missing = sorted(set(wanted[shard]) - set(loaded))
        if missing:
            raise EvaluationError(f"shard {shard} lacks sample {missing[0]} that the catalog places there")
    return loaded


def _read_members(store: Store, shard: str, keys: set[str]) -> dict[str, dict[str, bytes]]:
    """sample id -> {member name after the first dot: bytes}; other samples are skipped without being read."""
    found: dict[str, dict[str, bytes]] = {}
    try:
        with store.open_read(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                key, _, suffix = member.name.partition(".")
                if key in keys:
                    content = archive.extractfile(member)
                    if content is not None:
                        found.setdefault(key, {})[suffix] = content.read()
    except (tarfile.TarError, FileNotFoundError) as error:
        raise EvaluationError(f"shard {shard} cannot be read: {error}") from error
    return found


def _assemble(row: SampleRow, members: dict[str, bytes]) -> LoadedSample:
    sample = Sample.from_json(members["json"])
    messages = []
    for message in sample.to_dict()["messages"]:
        content = []
        for part in message["content"]:
            if part["type"] != "text":
                if part["part"] not in members:
                    raise EvaluationError(f"sample {row.sample_id}: its shard lacks the part {part['part']}")
                part = {**part, "value": decode(part["type"], members[part["part"]])}
            content.append(part)
        messages.append({"role": message["role"], "content": content})
    if not messages or messages[-1]["role"] != "assistant":
        raise EvaluationError(f"sample {row.sample_id}: its last message is not the assistant's")
    return LoadedSample(row, messages[:-1], messages[-1]["content"])


def decode(modality: str, data: bytes) -> Any:
    """Encoded bytes of a normalised medium -> its value."""
    if modality == "image":
        return Image.open(io.BytesIO(data)).convert("RGB")
    if modality == "audio":
        wave, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        return np.ascontiguousarray(wave.mean(axis=1))
    if modality == "video":
        return decode_video(data)
    raise EvaluationError(f"no way to decode a {modality} part")


@dataclass(frozen=True)
class TrainAnswer:
    """A train sample's prompt text, and its reply's text where the reply is text alone."""

    row: SampleRow
    prompt: str
    reply: str


def train_answers(catalog: Catalog, build: str | None, task: str, seed: int) -> list[TrainAnswer]:
    """Train samples of a task (at most MAX_TRAIN_TEXTS, by hash) with their texts; no medium is read."""
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


@dataclass(frozen=True)
class Leak:
    """Of `targets` different media that test samples of a task ask for, `leaked` occur anywhere in a train sample."""

    task: str
    leaked: int
    targets: int


def leaks(catalog: Catalog, build: str | None) -> list[Leak]:
    """Per task with media as targets, ordered by its name. Nothing should be leaked."""
    rows = catalog.sql(
        """with turns as (select sample_id, max(turn) as last from parts group by sample_id),
           train as (select distinct p.asset_id from parts p join samples s using (sample_id)
                     where s.split = 'train' and p.asset_id is not null and p.modality <> 'text'),
           targets as (select distinct s.task, p.asset_id
                       from parts p join samples s using (sample_id) join turns t using (sample_id)
                       where s.split = 'test' and p.turn = t.last and p.asset_id is not null and p.modality <> 'text')
           select targets.task, count(train.asset_id) as leaked, count(*) as targets
           from targets left join train using (asset_id) group by 1 order by 1""",
        build=build,
    )
    return [Leak(**row) for row in rows.to_pylist()]
