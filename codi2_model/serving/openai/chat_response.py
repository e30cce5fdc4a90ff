"""Replies on their way out: OpenAI's JSON, whole or as chunks of a stream.

`message.content` is a string, the reply's text. Media stand beside it, whole: `images` ({"type": "image_url"} with a PNG, as
OpenRouter has them), `audio` (as OpenAI has it; a reply's further audio in `audios`, with its `index`) and `videos`
({"type": "video_url"} with an MP4). `parts` names the order: {"type": "text", "text": ...}, {"type": "image", "index": 0}.
A chunk's delta holds one text or one medium under the same names; the order is that of the chunks. What happens between (a
medium begun, how far it is) stands in the chunk's `codi2`, which OpenAI's clients pass on.

Where a request says `"content_format": "list"`, `content` is the list of all parts instead: text, `image_url`, `audio`,
`video_url`; a delta's content is a string, or the list of one medium.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codi2_model.generation.events import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.http.media import image_to_url, video_to_url
from codi2_model.serving.openai.audio_output import encode_audio
from codi2_model.serving.openai.protocol import ChatRequest, RequestError
from codi2_model.serving.openai.response_store import SECONDS


@dataclass(frozen=True)
class Accepted:
    """Which model will answer, told before all else by a server that changes models."""

    model_id: str


@dataclass(frozen=True)
class Finished:
    """The end of a reply: tokens read and written (feature slots included), and read tokens that a session had kept."""

    prompt_tokens: int
    completion_tokens: int
    finish_reason: str = "stop"
    cached_tokens: int = 0

    def usage(self) -> dict[str, Any]:
        total = self.prompt_tokens + self.completion_tokens
        counts = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return {**counts, "total_tokens": total, "prompt_tokens_details": {"cached_tokens": self.cached_tokens}}


@dataclass(frozen=True)
class Failed:
    """The end of a reply that is none."""

    error: RequestError


ServerEvent = Accepted | TextDelta | MediumBegun | Progress | MediumDone | Finished | Failed


@dataclass(frozen=True)
class Reply:
    """What the model made, whole."""

    content: list[dict[str, Any]]
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str = "stop"
    cached_tokens: int = 0

    def usage(self) -> dict[str, Any]:
        return Finished(self.prompt_tokens, self.completion_tokens, self.finish_reason, self.cached_tokens).usage()


def add_text(parts: list[dict[str, Any]], text: str) -> None:
    """Text that follows what is there."""
    if parts and parts[-1]["type"] == "text":
        parts[-1]["text"] += text
    else:
        parts.append({"type": "text", "text": text})


class ReplyBuilder:
    """Puts a reply together from its events."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []

    def take(self, event: ServerEvent) -> Reply | None:
        """The reply, when it is whole. Raises the RequestError of one that failed."""
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, TextDelta):
            add_text(self.content, event.text)
        elif isinstance(event, MediumDone):
            self.content.append({"type": event.modality, "value": event.value})
        elif isinstance(event, Finished):
            counts = event.prompt_tokens, event.completion_tokens, event.finish_reason, event.cached_tokens
            return Reply(self.content, *counts)
        return None


def content_to_json(content: Sequence[Mapping[str, Any]], audio_format: str = "wav") -> list[dict[str, Any]]:
    """A generated content list as OpenAI-style parts, order kept."""
    return [part_to_json(part, audio_format) for part in content]


def part_to_json(part: Mapping[str, Any], audio_format: str = "wav") -> dict[str, Any]:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": image_to_url(part["value"])}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": video_to_url(part["value"])}}
    data = base64.b64encode(encode_audio(part["value"], audio_format)).decode()
    return {"type": "audio", "audio": {"data": data, "format": audio_format}}


MEDIA_PLACES = {"image_url": ("image", "images"), "audio": ("audio", "audio"), "video_url": ("video", "videos")}


class MediaNamer:
    """Says under which name, and as which of its kind, each medium of a reply stands in a message."""

    def __init__(self, request_id: str, created: int) -> None:
        self.request_id, self.expires_at = request_id, created + SECONDS
        self.counts: dict[str, int] = {}

    def place(self, part: Mapping[str, Any], transcript: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """(name in the message, the medium there, its entry in `parts`). The transcript is what was said before, or in all."""
        kind, name = MEDIA_PLACES[part["type"]]
        index = self.counts.get(kind, 0)
        self.counts[kind] = index + 1
        entry = {"type": kind, "index": index}
        if kind != "audio":
            return name, {**part, "index": index}, entry
        about = {"id": self.audio_id(index), "expires_at": self.expires_at, "transcript": transcript, **part["audio"]}
        return (name, about, entry) if index == 0 else ("audios", {**about, "index": index}, entry)

    def audio_id(self, index: int) -> str:
        return f"audio-{self.request_id}" + (f"-{index}" if index else "")

    def audio_ids(self) -> list[str]:
        """Of the audio placed so far."""
        return [self.audio_id(n) for n in range(self.counts.get("audio", 0))]


def text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(part["text"] for part in parts if part["type"] == "text")


def message_of(parts: list[dict[str, Any]], placer: MediaNamer) -> dict[str, Any]:
    """The message that says these parts: its text as a string, its media by kind, their order."""
    text, order = text_of(parts), []
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    message |= {"images": [], "audio": None, "videos": []}
    for part in parts:
        if part["type"] == "text":
            order.append(part)
            continue
        name, medium, entry = placer.place(part, text.strip())
        order.append(entry)
        if name == "audio":
            message["audio"] = medium
        else:
            message.setdefault(name, []).append(medium)
    return {**message, "parts": order}


@dataclass(frozen=True)
class Answer:
    """An answer's JSON, and what clients may send back no more than an id of, by these ids."""

    body: dict[str, Any]
    to_keep: dict[str, list[dict[str, Any]]]


def completion(reply: Reply, request: ChatRequest, head: Mapping[str, Any]) -> Answer:
    """A `chat.completion` object. `head`: id, created, model."""
    parts = content_to_json(reply.content, request.audio_format)
    placer = MediaNamer(str(head["id"]), int(head["created"]))
    if request.content_format == "list":
        message: dict[str, Any] = {"role": "assistant", "content": parts, "refusal": None}
    else:
        message = message_of(parts, placer)
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
    named = {} if request.session is None else {"session": request.session}
    body = {**head, "object": "chat.completion", "choices": [choice], "usage": reply.usage(), **named}
    return Answer(body, dict.fromkeys(placer.audio_ids(), parts))


KEEP_ALIVE = ": still at it\n\n"  # a comment, which clients pass over


class StreamWriter(Protocol):
    """Makes the lines of a streamed answer out of a reply's events."""

    def opening(self) -> list[str]: ...

    def lines(self, event: ServerEvent) -> list[str]:
        """Those that tell of an event; behind the last, those that end the stream."""
        ...

    def to_keep(self) -> dict[str, list[dict[str, Any]]]:
        """What clients may send back no more than an id of, by these ids."""
        ...


class ChunkWriter:
    """The `chat.completion.chunk` objects of one streamed reply, in its order."""

    def __init__(self, request: ChatRequest, head: Mapping[str, Any]) -> None:
        self.request, self.head = request, head
        self.placer = MediaNamer(str(head["id"]), int(head["created"]))
        self.parts: list[dict[str, Any]] = []

    def opening(self) -> list[str]:
        return [sse(self._chunk({"role": "assistant", "content": ""}))]

    def lines(self, event: ServerEvent) -> list[str]:
        end = [sse(None)] if isinstance(event, Finished | Failed) else []
        return [*map(sse, self.chunks(event)), *end]

    def to_keep(self) -> dict[str, list[dict[str, Any]]]:
        return dict.fromkeys(self.placer.audio_ids(), self.parts)

    def chunks(self, event: ServerEvent) -> list[dict[str, Any]]:
        """What tells of an event; of a failure, the error that ends the stream."""
        if isinstance(event, TextDelta):
            add_text(self.parts, event.text)
            return [self._chunk({"content": event.text})]
        if isinstance(event, MediumDone):
            return [self._medium(event)]
        if isinstance(event, MediumBegun):
            about = {"event": "medium_begun", "number": event.number, "modality": event.modality}
            return [self._chunk({}, codi2=about)]
        if isinstance(event, Progress):
            about = {"event": "progress", "number": event.number, "step": event.step, "steps": event.steps}
            if event.preview is not None:
                about["preview"] = part_to_json({"type": modality_of(event.preview), "value": event.preview})
            return [self._chunk({}, codi2=about)]
        if isinstance(event, Failed):
            return [event.error.to_json()]
        if isinstance(event, Accepted):
            return []  # every chunk's head says it
        ends = [self._chunk({}, event.finish_reason)]
        if self.request.include_usage:
            ends.append({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": event.usage()})
        return ends

    def _medium(self, event: MediumDone) -> dict[str, Any]:
        part = part_to_json({"type": event.modality, "value": event.value}, self.request.audio_format)
        about = {"event": "medium_done", "number": event.number}
        if self.request.content_format == "list":
            return self._chunk({"content": [part]}, codi2=about)
        name, medium, _ = self.placer.place(part, text_of(self.parts).strip())
        self.parts.append(part)
        return self._chunk({name: medium if name == "audio" else [medium]}, codi2=about)

    def _chunk(
        self, delta: dict[str, Any], finish: str | None = None, codi2: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        made = {**self.head, "object": "chat.completion.chunk", "choices": [choice]}
        if self.request.include_usage:
            made["usage"] = None  # the last chunk has it
        return made if codi2 is None else {**made, "codi2": codi2}


def modality_of(value: Any) -> str:
    """What kind of medium a value is."""
    shape = getattr(value, "ndim", None)
    return {None: "image", 1: "audio"}.get(shape, "video")


def sse(data: Mapping[str, Any] | None, event: str | None = None) -> str:
    """One server-sent event; None is the end of a stream. ASCII alone: some clients take U+2028 or U+0085 for an end of line."""
    name = "" if event is None else f"event: {event}\n"
    return f"{name}data: {'[DONE]' if data is None else json.dumps(data, ensure_ascii=True)}\n\n"
