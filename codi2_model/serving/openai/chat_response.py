"""Chat completion responses: OpenAI's JSON, complete or as chunks of a stream.

`message.content` is the text of the reply, a string. Media are in `images` ({"type": "image_url"} with a PNG, as in
OpenRouter's API), `audio` (as in OpenAI's API; further audio in `audios`, with `index`) and `videos` ({"type": "video_url"}
with an MP4). `parts` gives the order: {"type": "text", "text": ...}, {"type": "image", "index": 0}. The delta of a chunk has
one text or one medium in the same fields; the order is that of the chunks. Progress (a medium begun, its steps) is in the
field `codi2` of a chunk, which OpenAI's clients pass on.

With `"content_format": "list"` in the request, `content` is the list of all parts (text, `image_url`, `audio`, `video_url`),
and the content of a delta is a string, or a list of one medium.
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
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest
from codi2_model.serving.openai.response_store import SECONDS


@dataclass(frozen=True)
class Accepted:
    """The model that will answer. The first event of a server that can switch its model."""

    model_id: str


@dataclass(frozen=True)
class Finished:
    """The end of a reply. Token counts include feature slots. `cached_tokens`: prompt tokens that the session had cached."""

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
    """The end of a reply that failed."""

    error: RequestError


ServerEvent = Accepted | TextDelta | MediumBegun | Progress | MediumDone | Finished | Failed


@dataclass(frozen=True)
class Reply:
    """A complete reply. Media parts of `content` have a `value`."""

    content: list[dict[str, Any]]
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str = "stop"
    cached_tokens: int = 0

    def usage(self) -> dict[str, Any]:
        return Finished(self.prompt_tokens, self.completion_tokens, self.finish_reason, self.cached_tokens).usage()


def add_text(parts: list[dict[str, Any]], text: str) -> None:
    """Append text to the last part, or as a new part after a medium."""
    if parts and parts[-1]["type"] == "text":
        parts[-1]["text"] += text
    else:
        parts.append({"type": "text", "text": text})


class ReplyBuilder:
    """Builds a reply from its events."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []

    def take(self, event: ServerEvent) -> Reply | None:
        """Add an event. Returns the reply at its end, else None. Raises the RequestError of a failed reply."""
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
    """A generated content list as parts of OpenAI's API, in the same order."""
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
    """Assigns each medium of a reply to a field of the message, with an index within its modality."""

    def __init__(self, request_id: str, created: int) -> None:
        self.request_id, self.expires_at = request_id, created + SECONDS
        self.counts: dict[str, int] = {}

    def place(self, part: Mapping[str, Any], transcript: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """(field of the message, medium, entry in `parts`). `transcript`: the text of the reply (so far), for audio."""
        kind, name = MEDIA_PLACES[part["type"]]
        index = self.counts.get(kind, 0)
        self.counts[kind] = index + 1
        entry = {"type": kind, "index": index}
        if kind != "audio":
            return name, {**part, "index": index}, entry
        audio = {"id": self.audio_id(index), "expires_at": self.expires_at, "transcript": transcript, **part["audio"]}
        return (name, audio, entry) if index == 0 else ("audios", {**audio, "index": index}, entry)

    def audio_id(self, index: int) -> str:
        return f"audio-{self.request_id}" + (f"-{index}" if index else "")

    def audio_ids(self) -> list[str]:
        """The ids of all audio so far."""
        return [self.audio_id(n) for n in range(self.counts.get("audio", 0))]


def text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(part["text"] for part in parts if part["type"] == "text")


def message_of(parts: list[dict[str, Any]], placer: MediaNamer) -> dict[str, Any]:
    """The message with these parts: text as a string, media by modality, and their order."""
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
    """The JSON of a response, and parts to store: clients may later refer to them by id."""

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
    session = {} if request.session is None else {"session": request.session}
    body = {**head, "object": "chat.completion", "choices": [choice], "usage": reply.usage(), **session}
    return Answer(body, dict.fromkeys(placer.audio_ids(), parts))


KEEP_ALIVE = ": keep-alive\n\n"  # a comment, which clients ignore


class StreamWriter(Protocol):
    """Writes the lines of a streamed response from the events of a reply."""

    def opening(self) -> list[str]: ...

    def lines(self, event: ServerEvent) -> list[str]:
        """The lines for an event, and after the last event the end of the stream."""
        ...

    def to_keep(self) -> dict[str, list[dict[str, Any]]]:
        """Parts to store by id: clients may later refer to them by it."""
        ...


class ChunkWriter:
    """Writes the `chat.completion.chunk` objects of a streamed reply."""

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
        """The chunks for an event. For a failure it is the error object."""
        if isinstance(event, TextDelta):
            add_text(self.parts, event.text)
            return [self._chunk({"content": event.text})]
        if isinstance(event, MediumDone):
            return [self._medium(event)]
        if isinstance(event, MediumBegun):
            fields = {"event": "medium_begun", "number": event.number, "modality": event.modality}
            return [self._chunk({}, codi2=fields)]
        if isinstance(event, Progress):
            fields = {"event": "progress", "number": event.number, "step": event.step, "steps": event.steps}
            if event.preview is not None:
                fields["preview"] = part_to_json({"type": modality_of(event.preview), "value": event.preview})
            return [self._chunk({}, codi2=fields)]
        if isinstance(event, Failed):
            return [event.error.to_json()]
        if isinstance(event, Accepted):
            return []  # the model's id is in every chunk
        ends = [self._chunk({}, event.finish_reason)]
        if self.request.include_usage:
            ends.append({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": event.usage()})
        return ends

    def _medium(self, event: MediumDone) -> dict[str, Any]:
        part = part_to_json({"type": event.modality, "value": event.value}, self.request.audio_format)
        fields = {"event": "medium_done", "number": event.number}
        if self.request.content_format == "list":
            return self._chunk({"content": [part]}, codi2=fields)
        name, medium, _ = self.placer.place(part, text_of(self.parts).strip())
        self.parts.append(part)
        return self._chunk({name: medium if name == "audio" else [medium]}, codi2=fields)

    def _chunk(
        self, delta: dict[str, Any], finish: str | None = None, codi2: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        chunk = {**self.head, "object": "chat.completion.chunk", "choices": [choice]}
        if self.request.include_usage:
            chunk["usage"] = None  # it is in the last chunk
        return chunk if codi2 is None else {**chunk, "codi2": codi2}


def modality_of(value: Any) -> str:
    """The modality of a decoded medium, by its number of dimensions."""
    shape = getattr(value, "ndim", None)
    return {None: "image", 1: "audio"}.get(shape, "video")


def sse(data: Mapping[str, Any] | None, event: str | None = None) -> str:
    """One server-sent event. None: the end of the stream. ASCII only, because some clients split lines at U+2028 or U+0085."""
    name = "" if event is None else f"event: {event}\n"
    return f"{name}data: {'[DONE]' if data is None else json.dumps(data, ensure_ascii=True)}\n\n"
