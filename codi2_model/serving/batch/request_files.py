"""Request files of batch generation: JSONL, Parquet, or shards of samples.

A row has the fields of the API (messages, id?, seed?, modalities?, ...) and of the sample that it becomes (task?, licence?,
split?). In Parquet, nested columns are structs or JSON strings. A sample of a shard is a request for its last reply.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.sample import Part, Sample
from codi2_datasets.formats.valid_values import plain_string
from codi2_datasets.readers.files import DAMAGE, damage, has_ending
from codi2_datasets.readers.lines import lines_of
from codi2_datasets.readers.tables import file_rows, row_groups
from codi2_datasets.readers.tars import opened_tar
from codi2_datasets.readers.values import Bad
from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import MODALITIES, ChatRequest, parse_request
from codi2_model.serving.openai.validation import ModelCard
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

KINDS = (".jsonl", ".parquet", ".tar")
SAMPLE_FIELDS = ("id", "task", "licence", "split")  # fields of a row that are not fields of the API
NESTED = ("messages", "modalities", "stream_options")
MEDIA_TYPES = {"image": "image/webp", "video": "video/mp4"}
MODEL_ID = "codi2"
LIMITS = Limits(medium_bytes=32 * 1024 * 1024, new_tokens=4096, steps=1000, text_characters=1_000_000, media=64)


@dataclass(frozen=True)
class RequestRow:
    """One row of a request file, or the reason why it is not a request."""

    id: str
    place: str
    """File and row, for messages."""
    data: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    def asked(self) -> str:
        """Hash of the row: if it changes, the row is answered again."""
        return digest([self.id, self.data, self.reason])

    def seed(self, base: int) -> int:
        """The seed of the row, else one derived from `base` and the row's id."""
        own = self.data.get("seed")
        return own if isinstance(own, int) else int(digest([base, self.id])[:12], 16)

    def request(self, base: int, has: tuple[str, ...]) -> ChatRequest:
        """The validated request. `has`: modalities of the model. Raises RequestError."""
        if self.reason:
            raise RequestError(self.reason)
        data = {k: v for k, v in self.data.items() if k not in SAMPLE_FIELDS} | {"model": MODEL_ID}
        data.setdefault("seed", self.seed(base))
        return parse_request(json.dumps(data).encode(), ModelCard(MODEL_ID, has), LIMITS)


def read_requests(path: str) -> list[RequestRow]:
    """The requests of a file, or of all files of a folder, in order. Raises UsageError if two have the same id."""
    store = Store(path)
    if not store.exists(""):
        raise UsageError(f"{path}: no such file of requests")
    if store.fs.isdir(store.path("")):
        files = {name: store.uri(name) for name in store.list() if has_ending(name, *KINDS)}
    else:
        name = path.rstrip("/").rpartition("/")[2]
        files = {name: store.uri()} if has_ending(name, *KINDS) else {}
    if not files:
        raise UsageError(f"{path}: no requests there; give files ending in {', '.join(KINDS)}")
    rows = [row for name, file in files.items() for row in read_file(file, name)]
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            raise UsageError(f"{row.place}: the id {row.id!r} is not unique; also at {seen[row.id]}")
        seen[row.id] = row.place
    return rows


def read_file(file: str, label: str) -> Iterator[RequestRow]:
    if has_ending(label, ".jsonl"):
        return read_jsonl(file, label)
    return read_parquet(file, label) if has_ending(label, ".parquet") else read_shard(file, label)


def read_jsonl(file: str, label: str) -> Iterator[RequestRow]:
    number = 0
    try:
        for number, line in enumerate(lines_of(file), 1):
            if isinstance(line, Bad):
                yield RequestRow(f"line-{number}", f"{label}:{number}", reason=line.reason)
            elif line.strip():
                yield parse_row(line, f"{label}:{number}", f"line-{number}")
    except DAMAGE as error:
        yield RequestRow(f"line-{number + 1}", f"{label}:{number + 1}", reason=f"damaged file: {damage(error)}")


def parse_row(line: bytes | str, place: str, name: str) -> RequestRow:
    """A row from JSON. A row without `id` gets the id `name`."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RequestRow(name, place, reason=f"not JSON: {' '.join(str(error).split())}")
    if not isinstance(data, dict):
        return RequestRow(name, place, reason="not a JSON object")
    identity = plain_string(str(data["id"])) if data.get("id") is not None else name
    if not is_unicode(data):
        return RequestRow(identity, place, reason="a string contains a lone surrogate, which is not valid Unicode")
    return RequestRow(identity, place, data)


def is_unicode(value: Any) -> bool:
    """Whether all strings in the value can be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_parquet(file: str, label: str) -> Iterator[RequestRow]:
    if row_groups(file) is None:
        raise UsageError(f"{label}: not a Parquet file")
    for number, row in enumerate((row for _, row in file_rows(file)), 1):
        place, name = f"{label}:{number}", f"row-{number}"
        if isinstance(row, dict):
            yield _parquet_row(_filled(row), place, name)
        else:
            yield RequestRow(name, place, reason=row.reason if isinstance(row, Bad) else "no row")


def _parquet_row(row: dict[str, Any], place: str, name: str) -> RequestRow:
    try:
        for column in NESTED:
            if isinstance(row.get(column), str) and row[column].lstrip()[:1] in ("[", "{"):
                row[column] = json.loads(row[column])
        return parse_row(json.dumps(row), place, str(row.get("id") or name))
    except (ValueError, TypeError) as error:
        return RequestRow(str(row.get("id") or name), place, reason=f"not a request: {error}")


def _filled(value: Any) -> Any:
    """The value without null fields, because each kind of part uses only some fields of a struct.

    Whole floats become integers: a column of integers with nulls may be read as floats.
    """
    if isinstance(value, dict):
        fields = {name: _filled(item) for name, item in value.items()}
        return {name: item for name, item in fields.items() if item is not None}
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return [_filled(item) for item in value] if isinstance(value, list) else value


def read_shard(file: str, label: str) -> Iterator[RequestRow]:
    """The samples of a shard as requests. A JSON member without `sample_id` is read as a request itself."""
    with opened_tar(file) as archive:
        if archive.bad and not archive.members:
            raise UsageError(f"{label}: not a shard ({archive.bad[0][1].reason})")
        contents = {member.name: archive.read(member) for member in archive.members}
        broken = [*archive.bad, *((name, data) for name, data in contents.items() if isinstance(data, Bad))]
    members = {name: data for name, data in contents.items() if isinstance(data, bytes)}
    for name in members:
        if name.endswith(".json"):
            yield _shard_row(members, name.removesuffix(".json"), f"{label}:{name}")
    for name, bad in broken:
        yield RequestRow(name or "the rest of the shard", f"{label}:{name}", reason=bad.reason)


def _shard_row(members: dict[str, bytes], key: str, place: str) -> RequestRow:
    row = parse_row(members[f"{key}.json"], place, key)
    if row.reason or "sample_id" not in row.data:
        return row
    try:
        return RequestRow(key, place, from_sample(Sample.from_dict(row.data), members))
    except (ValueError, KeyError) as error:
        return RequestRow(key, place, reason=f"{error}")


def from_sample(sample: Sample, members: dict[str, bytes]) -> dict[str, Any]:
    """A sample as a request for its last reply, with the modalities of that reply; its seed is the batch's."""
    conversation = list(sample.messages)
    has_reply = conversation[-1].role == "assistant"
    modalities = {part.type for part in conversation.pop().content} if has_reply else set(MODALITIES)
    messages = [
        {"role": message.role, "content": [_part(part, sample.sample_id, members) for part in message.content]}
        for message in conversation
    ]
    fields = {"task": sample.task, "licence": sample.licence, "split": sample.split}
    return {"messages": messages, "modalities": [m for m in MODALITIES if m in modalities], **fields}


def _part(part: Part, key: str, members: dict[str, bytes]) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text}
    data = base64.b64encode(members[f"{key}.{part.part}"]).decode()
    if part.type == "audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": "flac"}}
    return {"type": f"{part.type}_url", f"{part.type}_url": {"url": f"data:{MEDIA_TYPES[part.type]};base64,{data}"}}
