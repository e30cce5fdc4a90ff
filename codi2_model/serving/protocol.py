"""OpenAI's request JSON -> `ChatRequest`: what a reply is asked for. No web framework, no model.

`messages.py` reads the conversation, `wire.py` writes replies. Every refusal names the field at fault.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codi2_model.config import MODALITIES as MEDIA
from codi2_model.serving.media import Limits

MODALITIES = ("text", *MEDIA)
SETTINGS = (
    "model", "messages", "modalities", "seed", "steps", "guidance", "max_tokens", "max_completion_tokens",
    "temperature", "top_p", "stream", "stream_options", "n", "user", "metadata", "store", "audio", "session", "views",
    "preview_every",
)  # fmt: skip
# what OpenAI clients send of settings that this model does not have: accepted where it changes nothing
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "logprobs": (False,), "stop": ([],),
    "response_format": ({"type": "text"},), "tools": ([],), "tool_choice": ("none", "auto"), "top_logprobs": (0,),
    "parallel_tool_calls": (True, False), "service_tier": ("auto", "default"), "prediction": (),
    "reasoning_effort": ("none",), "prompt_cache_key": (), "safety_identifier": (), "verbosity": (),
}  # fmt: skip


class RequestError(ValueError):
    """A request that cannot be served: status, the field at fault, and what to do, for the client."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str = "invalid_value",
        status: int = 400,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.param, self.code, self.status, self.retry_after = param, code, status, retry_after

    def __reduce__(self) -> tuple[Any, ...]:  # from one process to another
        return (RequestError, (str(self), self.param, self.code, self.status, self.retry_after))

    def to_json(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(self.status, kind)
        param = None if self.param is None else shown(self.param)
        return {"error": {"message": shown(str(self), 1000), "type": kind, "param": param, "code": self.code}}


def shown(text: str, most: int = 120) -> str:
    """What a client sent, fit to be sent back: short, and no half characters."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Settings:
    """How a reply is made."""

    modalities: tuple[str, ...] = MODALITIES
    required: str | None = None
    """A medium the reply must hold: set where the request lists text and that medium, so that asking is enough."""
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    """Of the decoders; None: as the model's config says."""
    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    preview_every: int = 0


@dataclass(frozen=True)
class ChatRequest:
    """A validated request. Media parts of `messages` carry `value`: RGB picture, mono float32 at 16 kHz, or frames."""

    messages: list[dict[str, Any]]
    settings: Settings
    stream: bool = False
    include_usage: bool = False
    views: bool = False
    """Whether the reply's media are listed in `message.images`, `.audio` and `.videos` as well."""
    session: str | None = None
    """Name of the conversation whose reading is kept from turn to turn."""
    marks: tuple[str, ...] = ()
    """What each message says, as a hash: by it a session knows what it has read. Empty without a session."""


def parse_request(
    body: bytes,
    model_id: str,
    limits: Limits,
    has: tuple[str, ...] = MEDIA,
    fetch: Any = None,
    before: tuple[str, ...] = (),
) -> ChatRequest:
    """JSON bytes -> ChatRequest. `has`: the media that the model knows; `fetch` gets remote media, None refuses them;
    `before`: other names that the model answers to.

    Raises RequestError naming the field at fault.
    """
    from codi2_model.serving.messages import marks_of, parse_messages

    data = parse_object(body)
    known_fields(data, SETTINGS)
    check_model(data, model_id, before)
    if data.get("n") not in (None, 1) or data.get("n") is True:
        raise RequestError("one choice a request: n must be 1", "n")
    settings = parse_settings(data, limits, has)
    options = data.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RequestError("must be an object", "stream_options")
    session = data.get("session")
    if session is not None and not (isinstance(session, str) and 0 < len(session) <= 64 and session.isprintable()):
        raise RequestError("must be a text of 1 to 64 characters", "session")
    stream, views = boolean(data, "stream"), boolean(data, "views")
    messages = parse_messages(data.get("messages"), limits, has, fetch)
    marks = marks_of(data["messages"]) if session else ()
    return ChatRequest(messages, settings, stream, boolean(options, "include_usage"), views, session, marks)


def parse_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON", code="invalid_json") from error
    if not isinstance(data, dict):
        raise RequestError("the body must be a JSON object", code="invalid_json")
    return data


def known_fields(data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in sorted(set(data) - set(known)):
        if name not in NEUTRAL:
            message = f"unknown field {shown(name, 40)!r}; known: {', '.join(known)}"
            raise RequestError(message, name, "unknown_parameter")
        if data[name] is not None and NEUTRAL[name] and data[name] not in NEUTRAL[name]:
            raise RequestError("this model cannot do that: leave the field out", name, "unsupported_parameter")


def check_model(data: Mapping[str, Any], model_id: str, before: tuple[str, ...] = ()) -> None:
    model = data.get("model", model_id)
    if model != model_id and model not in before:
        message = f"no model {shown(repr(model), 80)} here; this server has {model_id!r}"
        raise RequestError(message, "model", "model_not_found", 404)
    if not isinstance(data.get("user", ""), str | None):
        raise RequestError("must be a text", "user")


def parse_settings(data: Mapping[str, Any], limits: Limits, has: tuple[str, ...]) -> Settings:
    default = Settings()
    can = ("text", *has)
    asked = list(can) if data.get("modalities") is None else data["modalities"]
    if not isinstance(asked, list) or not asked:
        raise RequestError(f"must be a list with any of {', '.join(can)}", "modalities")
    for n, name in enumerate(asked):
        if not isinstance(name, str) or name not in can:
            message = f"unknown modality {shown(repr(name), 40)}; known: {', '.join(can)}"
            raise RequestError(message, f"modalities[{n}]")
    media = [name for name in can if name in asked and name != "text"]
    tokens = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    return Settings(
        modalities=tuple(name for name in can if name in asked),
        required=media[0] if len(media) == 1 else None,
        seed=int(number(data, "seed", default.seed, 0, 2**63 - 1, whole=True)),
        **sampling(data, limits),
        max_tokens=int(number(data, tokens, default.max_tokens, 1, limits.new_tokens, whole=True)),
        temperature=number(data, "temperature", default.temperature, 0, 2),
        top_p=number(data, "top_p", default.top_p, 0.01, 1),
        preview_every=int(number(data, "preview_every", 0, 0, limits.steps, whole=True)),
    )


def sampling(data: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """`steps` and `guidance` of the decoders, where they are asked for."""
    found: dict[str, Any] = {}
    if data.get("steps") is not None:
        found["steps"] = int(number(data, "steps", 0, 1, limits.steps, whole=True))
    if data.get("guidance") is not None:
        found["guidance"] = number(data, "guidance", 0, 0, 30)
    return found


def number(data: Mapping[str, Any], name: str, default: float, low: float, high: float, whole: bool = False) -> float:
    value = data.get(name)
    if value is None:
        return default
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool) or not right or not finite or not low <= value <= high:
        raise RequestError(f"must be a {'whole ' if whole else ''}number from {low:g} to {high:g}", name)
    return value


def boolean(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError("must be true or false", name)
    return value
