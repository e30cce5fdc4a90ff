"""The sample format: chat messages whose content parts are text, images, audio or video, with in-context roles."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

SCHEMA_VERSION = 1
SAMPLE_RATE = 16_000  # Hz, of all audio in samples
Modality = Literal["text", "image", "audio", "video"]
IclRole = Literal["demo_input", "demo_output", "query", "target"]
Role = Literal["system", "user", "assistant"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
EXTENSIONS: dict[str, str] = {"image": "webp", "audio": "flac", "video": "mp4"}


class SampleError(ValueError):
    """A sample violates the format. The message names the sample and the part."""


@dataclass(frozen=True)
class Part:
    """One part of a message. Text parts hold `text`; the others name a shard member (`part`) and an asset."""

    type: Modality
    text: str | None = None
    part: str | None = None
    asset_id: str | None = None
    icl_role: IclRole | None = None
    target: bool = False

    def __post_init__(self) -> None:
        if self.type not in get_args(Modality):
            raise SampleError(f"unknown part type {self.type!r}")
        if self.icl_role is not None and self.icl_role not in get_args(IclRole):
            raise SampleError(f"unknown icl_role {self.icl_role!r}")
        if (self.type == "text") != (self.text is not None):
            raise SampleError(f"a {self.type} part {'needs' if self.type == 'text' else 'cannot hold'} text")
        if self.type != "text" and self.part is None:
            raise SampleError(f"a {self.type} part must name its shard member")


@dataclass(frozen=True)
class Message:
    role: Role
    content: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise SampleError(f"unknown role {self.role!r}")


@dataclass(frozen=True)
class Sample:
    sample_id: str
    task: str
    split: Split
    messages: tuple[Message, ...]
    licence: str
    seed: int
    holdout: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise SampleError(f"sample {self.sample_id}: schema version {self.schema_version} is not {SCHEMA_VERSION}")
        if "." in self.sample_id or "/" in self.sample_id:
            raise SampleError(f"sample {self.sample_id}: a key holds no dot and no slash")

    def parts(self) -> list[Part]:
        return [part for message in self.messages for part in message.content]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the fields that a part leaves empty."""
        messages = [
            {"role": m.role, "content": [{k: v for k, v in vars(p).items() if v is not None} for p in m.content]}
            for m in self.messages
        ]
        head = {"schema_version": self.schema_version, "sample_id": self.sample_id, "task": self.task}
        return {
            **head,
            "split": self.split,
            "holdout": self.holdout,
            "messages": messages,
            "licence": self.licence,
            "seed": self.seed,
            "meta": self.meta,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Sample:
        name = data.get("sample_id", "(no sample_id)")
        try:
            fields = {k: v for k, v in data.items() if k != "messages"}
            messages = tuple(
                Message(message["role"], tuple(Part(**part) for part in message["content"]))
                for message in data["messages"]
            )
            return cls(**fields, messages=messages)
        except SampleError as error:
            raise SampleError(f"sample {name}: {error}") from error
        except (TypeError, KeyError) as error:
            raise SampleError(f"sample {name}: not a sample: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Sample:
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SampleError(f"not JSON: {error}") from error
        if not isinstance(data, dict):
            raise SampleError(f"not a sample but a {type(data).__name__}")
        return cls.from_dict(data)
