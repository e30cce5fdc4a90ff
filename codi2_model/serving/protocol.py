"""OpenAI's chat-completion JSON <-> conversations and replies. No web framework, no model.

    request JSON --parse_request--> ChatRequest (messages whose media parts carry values)
    reply (content list) --completion | stream_chunks--> response JSON

A reply's `message.content` is a list of parts in the order the model made them, since a plain string cannot interleave:
{"type": "text"}, {"type": "image_url"} with a PNG data URL, {"type": "audio"} with base64 WAV.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codi2_model.serving.media import (
    Limits,
    MediaRefused,
    audio_from_base64,
    audio_to_base64,
    image_from_url,
    image_to_url,
)

MODALITIES = ("text", "image", "audio")
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
SETTINGS = (
    "model", "messages", "modalities", "seed", "steps", "guidance", "max_tokens", "max_completion_tokens",
    "temperature", "top_p", "stream", "stream_options", "n", "user", "metadata", "store", "audio",
)  # fmt: skip


class RequestError(ValueError):
    """A request that cannot be served: status, the field at fault, and what to do, for the client."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status

    def to_json(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Settings:
    """How a reply is made. Requests whose settings differ in nothing but the seed can share a batch."""

    modalities: tuple[str, ...] = MODALITIES
    required: str | None = None
    """A medium the reply must hold: set where the request lists text and that medium, so that asking is enough."""
    seed: int = 0
    steps: int = 20
    guidance: float = 2.0
    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True)
class ChatRequest:
    """A validated request. Media parts of `messages` carry `value`: RGB picture, or mono float32 at 16 kHz."""

    messages: list[dict[str, Any]]
    settings: Settings
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True)
class Reply:
    """What the model made, and the count of tokens read and written (feature slots included)."""

    content: list[dict[str, Any]]
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str = "stop"

    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}


def parse_request(body: bytes, model_id: str, limits: Limits) -> ChatRequest:
    """JSON bytes -> ChatRequest. Raises RequestError naming the field at fault."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON", code="invalid_json") from error
    if not isinstance(data, dict):
        raise RequestError("the body must be a JSON object", code="invalid_json")
    unknown = sorted(set(data) - set(SETTINGS))
    if unknown:
        raise RequestError(
            f"unknown field {unknown[0]!r}; known: {', '.join(SETTINGS)}", unknown[0], "unknown_parameter"
        )
    model = data.get("model", model_id)
    if model != model_id:
        raise RequestError(f"no model {model!r} here; this server has {model_id!r}", "model", "model_not_found", 404)
    if data.get("n") not in (None, 1):
        raise RequestError("one choice a request: n must be 1", "n")
    settings = _settings(data, limits)
    options = data.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RequestError("must be an object", "stream_options")
    messages = _messages(data.get("messages"), limits)
    return ChatRequest(messages, settings, _boolean(data, "stream"), bool(options.get("include_usage")))


def _settings(data: Mapping[str, Any], limits: Limits) -> Settings:
    default = Settings()
    asked = list(MODALITIES) if data.get("modalities") is None else data["modalities"]
    if not isinstance(asked, list) or not asked:
        raise RequestError(f"must be a list with any of {', '.join(MODALITIES)}", "modalities")
    for n, name in enumerate(asked):
        if name not in MODALITIES:
            raise RequestError(f"unknown modality {name!r}; known: {', '.join(MODALITIES)}", f"modalities[{n}]")
    media = [name for name in MODALITIES if name in asked and name != "text"]
    tokens = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    return Settings(
        modalities=tuple(name for name in MODALITIES if name in asked),
        required=media[0] if len(media) == 1 else None,
        seed=int(_number(data, "seed", default.seed, 0, 2**63 - 1, whole=True)),
        steps=int(_number(data, "steps", default.steps, 1, limits.steps, whole=True)),
        guidance=_number(data, "guidance", default.guidance, 0, 30),
        max_tokens=int(_number(data, tokens, default.max_tokens, 1, limits.new_tokens, whole=True)),
        temperature=_number(data, "temperature", default.temperature, 0, 2),
        top_p=_number(data, "top_p", default.top_p, 0.01, 1),
    )


def _number(data: Mapping[str, Any], name: str, default: float, low: float, high: float, whole: bool = False) -> float:
    value = data.get(name)
    if value is None:
        return default
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool) or not right or not finite or not low <= value <= high:
        raise RequestError(f"must be a {'whole ' if whole else ''}number from {low:g} to {high:g}", name)
    return value


def _boolean(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError("must be true or false", name)
    return value


def _messages(messages: Any, limits: Limits) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise RequestError("must be a list of at least one message", "messages", "missing_required_parameter")
    if len(messages) > limits.messages:
        raise RequestError(f"more than {limits.messages} messages", "messages", "too_many")
    parsed = []
    media = characters = 0
    for n, message in enumerate(messages):
        where = f"messages[{n}]"
        if not isinstance(message, dict):
            raise RequestError("must be an object with role and content", where)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise RequestError(f"must be one of {', '.join(ROLES)}", f"{where}.role")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list) or not content:
            raise RequestError("must be a text or a list of parts", f"{where}.content")
        parts = []
        for k, part in enumerate(content):
            field = f"{where}.content[{k}]"
            if not isinstance(part, dict):
                raise RequestError("must be an object with a type", field)
            media += part.get("type") != "text"
            if media > limits.media:
                raise RequestError(f"more than {limits.media} pictures and sounds", field, "too_many")
            parts.append(_part(part, field, limits))
            characters += len(parts[-1].get("text", ""))
            if characters > limits.text_characters:
                raise RequestError(f"more than {limits.text_characters:,} characters of text", field, "too_long")
        parsed.append({"role": ROLES[role], "content": parts})
    if parsed[-1]["role"] == "assistant":
        raise RequestError("the last message must not be the assistant's", f"messages[{len(parsed) - 1}].role")
    return parsed


def _part(part: Mapping[str, Any], field: str, limits: Limits) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise RequestError("must be a text", f"{field}.text")
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        url = _inner(part, "image_url", field).get("url")
        if not isinstance(url, str):
            raise RequestError("must be a data: URL", f"{field}.image_url.url")
        try:
            return {"type": "image", "value": image_from_url(url, limits)}
        except MediaRefused as error:
            raise RequestError(str(error), f"{field}.image_url.url", "invalid_image") from error
    if kind in ("input_audio", "audio"):  # "audio" is how replies hold sounds, so that they can be sent back as history
        inner = _inner(part, kind, field)
        for name in ("data", "format"):
            if not isinstance(inner.get(name), str):
                raise RequestError("must be a text", f"{field}.{kind}.{name}")
        try:
            return {"type": "audio", "value": audio_from_base64(inner["data"], inner["format"].lower(), limits)}
        except MediaRefused as error:
            raise RequestError(str(error), f"{field}.{kind}.data", "invalid_audio") from error
    raise RequestError(f"unknown part type {kind!r}; known: text, image_url, input_audio", f"{field}.type")


def _inner(part: Mapping[str, Any], name: str, field: str) -> Mapping[str, Any]:
    inner = part.get(name)
    if not isinstance(inner, dict):
        raise RequestError("must be an object", f"{field}.{name}")
    return inner


def content_to_json(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A generated content list as OpenAI-style parts, order kept."""
    return [_part_to_json(part) for part in content]


def _part_to_json(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "image":
        return {"type": "image_url", "image_url": {"url": image_to_url(part["value"])}}
    return {"type": "audio", "audio": {"data": audio_to_base64(part["value"]), "format": "wav"}}


def completion(reply: Reply, model_id: str, request_id: str, created: int) -> dict[str, Any]:
    """A `chat.completion` object."""
    message = {"role": "assistant", "content": content_to_json(reply.content)}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
    head = {"id": request_id, "object": "chat.completion", "created": created, "model": model_id}
    return {**head, "choices": [choice], "usage": reply.usage()}


def stream_chunks(
    reply: Reply, model_id: str, request_id: str, created: int, include_usage: bool = False
) -> Iterator[dict[str, Any]]:
    """`chat.completion.chunk` objects: text in deltas of a word (a string), each medium whole (a list of one part)."""
    head = {"id": request_id, "object": "chat.completion.chunk", "created": created, "model": model_id}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]}

    yield chunk({"role": "assistant", "content": ""})
    for part in reply.content:
        if part["type"] == "text":
            yield from (chunk({"content": piece}) for piece in _pieces(part["text"]))
        else:
            yield chunk({"content": [_part_to_json(part)]})
    yield chunk({}, reply.finish_reason)
    if include_usage:
        yield {**head, "choices": [], "usage": reply.usage()}


def _pieces(text: str) -> Iterator[str]:
    """Words with the space before them; joined they are the text."""
    start = 0
    for n in range(1, len(text)):
        if text[n].isspace() and not text[n - 1].isspace():
            yield text[start:n]
            start = n
    if text:
        yield text[start:]


def sse(chunk: Mapping[str, Any] | None) -> str:
    """One server-sent event; None is the end of the stream."""
    return f"data: {'[DONE]' if chunk is None else json.dumps(chunk, ensure_ascii=False)}\n\n"
