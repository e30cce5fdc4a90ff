"""Replies on their way out: OpenAI's JSON, whole or as chunks of a stream.

`message.content` is a list of parts in the order the model made them, since a plain string cannot interleave: {"type":
"text"}, {"type": "image_url"} with a PNG, {"type": "audio"} with base64 WAV, {"type": "video_url"} with an MP4. Where text
alone was asked for it is a plain string. A chunk's delta holds text as a string and a medium whole, as a list of its one
part; what happens between (a medium begun, how far it is) stands in the chunk's `codi2`, which OpenAI clients pass on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codi2_model.replies import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.media import encoded, image_to_url, video_to_url
from codi2_model.serving.protocol import ChatRequest, RequestError


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


class Gathering:
    """Puts a reply together from its events."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []

    def take(self, event: ServerEvent) -> Reply | None:
        """The reply, when it is whole. Raises the RequestError of one that failed."""
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, TextDelta):
            last = self.content[-1] if self.content else None
            if last is not None and last["type"] == "text":
                last["text"] += event.text
            else:
                self.content.append({"type": "text", "text": event.text})
        elif isinstance(event, MediumDone):
            self.content.append({"type": event.modality, "value": event.value})
        elif isinstance(event, Finished):
            counts = event.prompt_tokens, event.completion_tokens, event.finish_reason, event.cached_tokens
            return Reply(self.content, *counts)
        return None


def content_to_json(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A generated content list as OpenAI-style parts, order kept."""
    return [part_to_json(part) for part in content]


def part_to_json(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": image_to_url(part["value"])}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": video_to_url(part["value"])}}
    return {"type": "audio", "audio": {"data": encoded("audio", part["value"]), "format": "wav"}}


def said(parts: list[dict[str, Any]], request: ChatRequest) -> str | list[dict[str, Any]]:
    """`content` as a message holds it: a plain string where text alone was asked for."""
    if request.settings.modalities == ("text",):
        return "".join(part["text"] for part in parts)
    return parts


def completion(reply: Reply, request: ChatRequest, head: Mapping[str, Any]) -> dict[str, Any]:
    """A `chat.completion` object. `head`: id, created, model."""
    parts = content_to_json(reply.content)
    message: dict[str, Any] = {"role": "assistant", "content": said(parts, request), "refusal": None}
    if request.views:
        message |= views(parts, str(head["id"]), int(head["created"]))
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
    named = {} if request.session is None else {"session": request.session}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": reply.usage(), **named}


def views(parts: Sequence[Mapping[str, Any]], request_id: str, created: int) -> dict[str, Any]:
    """The reply's media by kind, as clients expect that know no content lists: `images`, `audio`, `videos`."""
    sounds = [part["audio"] for part in parts if part["type"] == "audio"]
    words = " ".join(part["text"].strip() for part in parts if part["type"] == "text")
    audio = {"id": f"audio-{request_id}", "expires_at": created, "transcript": words} | sounds[0] if sounds else None
    return {
        "images": [part for part in parts if part["type"] == "image_url"],
        "audio": audio,
        "videos": [part for part in parts if part["type"] == "video_url"],
    }


def opening(head: Mapping[str, Any]) -> dict[str, Any]:
    """The first chunk of a stream."""
    return chunk(head, {"role": "assistant", "content": ""})


def chunks(event: ServerEvent, request: ChatRequest, head: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`chat.completion.chunk` objects that tell of an event; of a failure, the error that ends the stream."""
    if isinstance(event, TextDelta):
        return [chunk(head, {"content": event.text})]
    if isinstance(event, MediumDone):
        part = part_to_json({"type": event.modality, "value": event.value})
        return [chunk(head, {"content": [part]}, codi2={"event": "medium_done", "number": event.number})]
    if isinstance(event, MediumBegun):
        about = {"event": "medium_begun", "number": event.number, "modality": event.modality}
        return [chunk(head, {}, codi2=about)]
    if isinstance(event, Progress):
        about = {"event": "progress", "number": event.number, "step": event.step, "steps": event.steps}
        if event.preview is not None:
            about["preview"] = part_to_json({"type": modality_of(event.preview), "value": event.preview})
        return [chunk(head, {}, codi2=about)]
    if isinstance(event, Failed):
        return [event.error.to_json()]
    if isinstance(event, Accepted):
        return []  # every chunk's head says it
    ends = [chunk(head, {}, event.finish_reason)]
    if request.include_usage:
        ends.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": event.usage()})
    return ends


def chunk(
    head: Mapping[str, Any], delta: dict[str, Any], finish: str | None = None, codi2: dict[str, Any] | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    made = {**head, "object": "chat.completion.chunk", "choices": [choice]}
    return made if codi2 is None else {**made, "codi2": codi2}


def modality_of(value: Any) -> str:
    """What kind of medium a value is."""
    shape = getattr(value, "ndim", None)
    return {None: "image", 1: "audio"}.get(shape, "video")


def sse(data: Mapping[str, Any] | None) -> str:
    """One server-sent event; None is the end of the stream."""
    return f"data: {'[DONE]' if data is None else json.dumps(data, ensure_ascii=False)}\n\n"
