"""Files of requests for batch generation: JSONL, Parquet, or shards of samples, read as the API's own messages.

A row is {messages, id?, seed?, modalities?, ...: the API's fields; task?, licence?, split?: of the sample it becomes}. In
Parquet, nested columns stand as such or as JSON text. A sample of a shard asks for its last reply anew.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.identity import digest
from codi2_datasets.sample import Part, Sample
from codi2_model.checkpoints import UsageError
from codi2_model.serving.media import Limits
from codi2_model.serving.protocol import MODALITIES, ChatRequest, ModelCard, RequestError, parse_request
from codi2_storage.store import Store

KINDS = (".jsonl", ".parquet", ".tar")
ABOUT = ("id", "task", "licence", "split")  # of a row, beside the API's fields
NESTED = ("messages", "modalities", "stream_options")
MEDIA_TYPES = {"image": "image/webp", "video": "video/mp4"}
MODEL_ID = "codi2"
LIMITS = Limits(medium_bytes=32 * 1024 * 1024, new_tokens=4096, steps=1000, text_characters=1_000_000, media=64)


@dataclass(frozen=True)
class Row:
    """One request as it stands in its file, or the reason why it is none."""

    id: str
    place: str
    """Where it stands: file and row."""
    data: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    def asked(self) -> str:
        """Hash of the whole request: a changed one under the same id is asked anew."""
        return digest([self.id, self.data, self.reason])

    def seed(self, base: int) -> int:
        """The row's own, else one made of the run's and the row's id."""
        own = self.data.get("seed")
        return own if isinstance(own, int) else int(digest([base, self.id])[:12], 16)

    def request(self, base: int, has: tuple[str, ...]) -> ChatRequest:
        """The request, checked. Raises RequestError."""
        if self.reason:
            raise RequestError(self.reason)
        data = {k: v for k, v in self.data.items() if k not in ABOUT} | {"model": MODEL_ID}
        data.setdefault("seed", self.seed(base))
        return parse_request(json.dumps(data).encode(), ModelCard(MODEL_ID, has), LIMITS)


def read_requests(path: str) -> list[Row]:
    """The requests of a file, or of all files of a folder, in order. Raises UsageError where two have one id."""
    store = Store(path)
    if not store.exists(""):
        raise UsageError(f"{path}: no such file of requests")
    if path.rstrip("/").endswith(KINDS):
        rows = list(read_file(store, "", path.rstrip("/").rpartition("/")[2]))
    else:
        names = [name for name in store.list() if name.endswith(KINDS)]
        if not names:
            raise UsageError(f"{path}: no requests there (files ending in {', '.join(KINDS)} are wanted)")
        rows = [row for name in names for row in read_file(store, name, name)]
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            raise UsageError(f"{row.place}: two requests have the id {row.id!r}, the other at {seen[row.id]}")
        seen[row.id] = row.place
    return rows


def read_file(store: Store, name: str, shown: str) -> Iterator[Row]:
    data = store.read_bytes(name)
    if shown.endswith(".jsonl"):
        return read_jsonl(data, shown)
    return read_parquet(data, shown) if shown.endswith(".parquet") else read_shard(data, shown)


def read_jsonl(data: bytes, shown: str) -> Iterator[Row]:
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield as_row(line, f"{shown}:{number}", f"line-{number}")


def as_row(line: bytes | str, place: str, name: str) -> Row:
    """A row of JSON. `id` is optional: the row's place stands in for it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(name, place, reason=f"not JSON: {' '.join(str(error).split())}")
    if not isinstance(found, dict):
        return Row(name, place, reason="not a JSON object")
    return Row(str(found["id"]) if found.get("id") is not None else name, place, found)


def read_parquet(data: bytes, shown: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
    except pa.ArrowException as error:
        raise UsageError(f"{shown}: not a Parquet file ({' '.join(str(error).split())})") from None
    number = 0
    for batch in file.iter_batches(batch_size=256):
        for row in batch.to_pylist():
            number += 1
            yield _parquet_row(_filled(row), f"{shown}:{number}", f"row-{number}")


def _parquet_row(row: dict[str, Any], place: str, name: str) -> Row:
    try:
        for column in NESTED:
            if isinstance(row.get(column), str) and row[column].lstrip()[:1] in ("[", "{"):
                row[column] = json.loads(row[column])
        return as_row(json.dumps(row), place, str(row.get("id") or name))
    except (ValueError, TypeError) as error:
        return Row(str(row.get("id") or name), place, reason=f"not a request: {error}")


def _filled(value: Any) -> Any:
    """Without the nulls of columns that a row does not use: of a struct, each kind of part fills its own alone."""
    if isinstance(value, dict):
        return {k: _filled(v) for k, v in value.items() if v is not None}
    return [_filled(v) for v in value] if isinstance(value, list) else value


def read_shard(data: bytes, shown: str) -> Iterator[Row]:
    """Samples of our format; a member that is a request in itself is one."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]
    except tarfile.TarError as error:
        raise UsageError(f"{shown}: not a shard ({error})") from None
    for name in members:
        if name.endswith(".json"):
            key = name.removesuffix(".json")
            yield _shard_row(members, key, f"{shown}:{name}")


def _shard_row(members: dict[str, bytes], key: str, place: str) -> Row:
    row = as_row(members[f"{key}.json"], place, key)
    if row.reason or "sample_id" not in row.data:
        return row
    try:
        return Row(key, place, from_sample(Sample.from_dict(row.data), members))
    except (ValueError, KeyError) as error:
        return Row(key, place, reason=f"{error}")


def from_sample(sample: Sample, members: dict[str, bytes]) -> dict[str, Any]:
    """A sample as a request for its last reply, of the same modalities."""
    said = list(sample.messages)
    wanted = {part.type for part in said.pop().content} if said[-1].role == "assistant" else set(MODALITIES)
    messages = [
        {"role": message.role, "content": [_part(part, sample.sample_id, members) for part in message.content]}
        for message in said
    ]
    about = {"task": sample.task, "licence": sample.licence, "split": sample.split, "seed": sample.seed}
    return {"messages": messages, "modalities": [m for m in MODALITIES if m in wanted], **about}


def _part(part: Part, key: str, members: dict[str, bytes]) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text}
    data = base64.b64encode(members[f"{key}.{part.part}"]).decode()
    if part.type == "audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": "flac"}}
    return {"type": f"{part.type}_url", f"{part.type}_url": {"url": f"data:{MEDIA_TYPES[part.type]};base64,{data}"}}
