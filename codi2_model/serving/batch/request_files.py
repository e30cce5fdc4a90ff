"""Files of requests for batch generation: JSONL, Parquet, or shards of samples, read as the API's own messages.

A row is {messages, id?, seed?, modalities?, ...: the API's fields; task?, licence?, split?: of the sample it becomes}. In
Parquet, nested columns stand as such or as JSON text. A sample of a shard asks for its last reply anew.
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
from codi2_model.checkpoints.registry import UsageError
from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.protocol import MODALITIES, ChatRequest, ModelCard, RequestError, parse_request
from codi2_storage.store import Store

KINDS = (".jsonl", ".parquet", ".tar")
ABOUT = ("id", "task", "licence", "split")  # of a row, beside the API's fields
NESTED = ("messages", "modalities", "stream_options")
MEDIA_TYPES = {"image": "image/webp", "video": "video/mp4"}
MODEL_ID = "codi2"
LIMITS = Limits(medium_bytes=32 * 1024 * 1024, new_tokens=4096, steps=1000, text_characters=1_000_000, media=64)


@dataclass(frozen=True)
class RequestRow:
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


def read_requests(path: str) -> list[RequestRow]:
    """The requests of a file, or of all files of a folder, in order. Raises UsageError where two have one id."""
    store = Store(path)
    if not store.exists(""):
        raise UsageError(f"{path}: no such file of requests")
    if store.fs.isdir(store.path("")):
        files = {name: store.uri(name) for name in store.list() if has_ending(name, *KINDS)}
    else:
        name = path.rstrip("/").rpartition("/")[2]
        files = {name: store.uri()} if has_ending(name, *KINDS) else {}
    if not files:
        raise UsageError(f"{path}: no requests there (files ending in {', '.join(KINDS)} are wanted)")
    rows = [row for name, file in files.items() for row in read_file(file, name)]
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            raise UsageError(f"{row.place}: two requests have the id {row.id!r}, the other at {seen[row.id]}")
        seen[row.id] = row.place
    return rows


def read_file(file: str, shown: str) -> Iterator[RequestRow]:
    if has_ending(shown, ".jsonl"):
        return read_jsonl(file, shown)
    return read_parquet(file, shown) if has_ending(shown, ".parquet") else read_shard(file, shown)


def read_jsonl(file: str, shown: str) -> Iterator[RequestRow]:
    number = 0
    try:
        for number, line in enumerate(lines_of(file), 1):
            if isinstance(line, Bad):
                yield RequestRow(f"line-{number}", f"{shown}:{number}", reason=line.reason)
            elif line.strip():
                yield parse_row(line, f"{shown}:{number}", f"line-{number}")
    except DAMAGE as error:
        yield RequestRow(f"line-{number + 1}", f"{shown}:{number + 1}", reason=f"damaged file: {damage(error)}")


def parse_row(line: bytes | str, place: str, name: str) -> RequestRow:
    """A row of JSON. `id` is optional: the row's place stands in for it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RequestRow(name, place, reason=f"not JSON: {' '.join(str(error).split())}")
    if not isinstance(found, dict):
        return RequestRow(name, place, reason="not a JSON object")
    own = plain_string(str(found["id"])) if found.get("id") is not None else name
    if not is_text(found):
        return RequestRow(own, place, reason="holds half a character (a lone surrogate)")
    return RequestRow(own, place, found)


def is_text(value: Any) -> bool:
    """Whether every string of it is UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_parquet(file: str, shown: str) -> Iterator[RequestRow]:
    if row_groups(file) is None:
        raise UsageError(f"{shown}: not a Parquet file")
    for number, row in enumerate((row for _, row in file_rows(file)), 1):
        place, name = f"{shown}:{number}", f"row-{number}"
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
    """Without the nulls of columns that a row does not use: of a struct, each kind of part fills its own alone. A column of
    whole numbers with nulls may have come as one of floats."""
    if isinstance(value, dict):
        there = {name: _filled(item) for name, item in value.items()}
        return {name: item for name, item in there.items() if item is not None}
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return [_filled(item) for item in value] if isinstance(value, list) else value


def read_shard(file: str, shown: str) -> Iterator[RequestRow]:
    """Samples of our format; a member that is a request in itself is one."""
    with opened_tar(file) as archive:
        if archive.bad and not archive.members:
            raise UsageError(f"{shown}: not a shard ({archive.bad[0][1].reason})")
        found = {member.name: archive.read(member) for member in archive.members}
        broken = [*archive.bad, *((name, data) for name, data in found.items() if isinstance(data, Bad))]
    members = {name: data for name, data in found.items() if isinstance(data, bytes)}
    for name in members:
        if name.endswith(".json"):
            yield _shard_row(members, name.removesuffix(".json"), f"{shown}:{name}")
    for name, bad in broken:
        yield RequestRow(name or "the rest of the shard", f"{shown}:{name}", reason=bad.reason)


def _shard_row(members: dict[str, bytes], key: str, place: str) -> RequestRow:
    row = parse_row(members[f"{key}.json"], place, key)
    if row.reason or "sample_id" not in row.data:
        return row
    try:
        return RequestRow(key, place, from_sample(Sample.from_dict(row.data), members))
    except (ValueError, KeyError) as error:
        return RequestRow(key, place, reason=f"{error}")


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
