"""OpenAI's request JSON -> `ChatRequest`: what a reply is asked for. No web framework, no model.

`messages.py` reads the conversation, `unsupported.py` lists what is refused, `wire.py` writes replies. Every refusal names
the field at fault.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from codi2_model.config import MODALITIES as MEDIA
from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai import audio_output, unsupported

Fetch = Callable[[str, str, Limits], bytes]
Earlier = Callable[[str], list[dict[str, Any]] | None]
MODALITIES = ("text", *MEDIA)
SETTINGS = (
    "model", "messages", "modalities", "seed", "steps", "guidance", "max_tokens", "max_completion_tokens",
    "temperature", "top_p", "stop", "presence_penalty", "frequency_penalty", "stream", "stream_options", "user", "audio",
    "session", "content_format", "preview_every",
)  # fmt: skip
CONTENT_FORMATS = ("string", "list")
STOPS, STOP_CHARACTERS = 4, 200  # sequences, and characters of each
LEAST_TOP_P = 0.01
LARGEST = 2**63 - 1
DEEPEST = 64  # levels of a body's JSON


class RequestError(ValueError):
    """A request that cannot be served: status, the field at fault, and what to do, for the client, who reads the field's name
    before the message."""

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
        message = str(self) if self.param is None else f"{self.param}: {self}"
        return {"error": {"message": shown(message, 1000), "type": kind, "param": param, "code": self.code}}


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
    stop: tuple[str, ...] = ()
    """The reply ends before the first of these in its text."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of each text token that the reply holds already."""
    frequency_penalty: float = 0.0
    """The same, once for each time that the reply holds it."""


@dataclass(frozen=True)
class ChatRequest:
    """A validated request. Media parts of `messages` carry `value`: RGB image, mono float32 at 16 kHz, or frames."""

    messages: list[dict[str, Any]]
    settings: Settings
    stream: bool = False
    include_usage: bool = False
    content_format: str = "string"
    """`string`: `message.content` is the reply's text, media stand beside it. `list`: it is all parts in their order."""
    audio_format: str = "wav"
    """How audio of the reply is encoded: a key of `audio_out.FORMATS`."""
    session: str | None = None
    """Name of the conversation whose reading is kept from turn to turn."""
    marks: tuple[str, ...] = ()
    """What each message says, as a hash: by it a session knows what it has read. Empty without a session."""


@dataclass(frozen=True)
class ModelCard:
    """What a request must know of the model that answers: its name, its media, and other names that it answers to."""

    model_id: str
    has: tuple[str, ...] = MEDIA
    before: tuple[str, ...] = ()


def parse_request(
    body: bytes,
    model: ModelCard,
    limits: Limits,
    fetch: Fetch | None = None,
    earlier: Earlier | None = None,
) -> ChatRequest:
    """JSON bytes -> ChatRequest. `fetch` gets remote media, None refuses them; `earlier`: the parts of the earlier reply that
    audio of this id came with.

    Raises RequestError naming the field at fault.
    """
    from codi2_model.serving.openai.messages import read_messages

    data = parse_object(body)
    known_fields(data, SETTINGS, unsupported.CHAT)
    check_model(data, model)
    settings = parse_settings(data, limits, model.has)
    options = mapping(data, "stream_options")
    session = data.get("session")
    if session is not None and not (isinstance(session, str) and 0 < len(session) <= 64 and session.isprintable()):
        raise RequestError("must be a string of 1 to 64 characters", "session")
    stream, usage = boolean(data, "stream"), boolean(options, "include_usage", "stream_options.include_usage")
    content_format = choice(data, "content_format", CONTENT_FORMATS)
    sound = parse_audio_format(data)
    messages, marks = read_messages(data.get("messages"), limits, model.has, fetch, earlier)
    kept = marks if session else ()
    return ChatRequest(messages, settings, stream, usage, content_format, sound, session, kept)


def parse_audio_format(data: Mapping[str, Any]) -> str:
    """`audio.format`, of requests that say how audio is to be encoded. Any `audio.voice` is accepted: there is one."""
    return audio_format(mapping(data, "audio").get("format"), "audio.format", "wav")


def audio_format(name: Any, param: str, default: str) -> str:
    """A key of `audio_out.FORMATS`; the default where nothing is asked."""
    found = default if name is None else audio_output.format_named(name)
    if found is None:
        raise RequestError(f"{shown(repr(name), 40)} is none of {', '.join(audio_output.FORMATS)}", param)
    return found


def parse_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON", code="invalid_json") from error
    if not isinstance(data, dict):
        raise RequestError("the body must be a JSON object", code="invalid_json")
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
    if level:
        raise RequestError(f"the body is nested deeper than {DEEPEST} levels", code="invalid_json")
    return data


def known_fields(data: Mapping[str, Any], known: tuple[str, ...], neutral: unsupported.Neutral) -> None:
    """Refuse by name what is unknown, and what is known but cannot be honored."""
    for name in sorted(name for name in set(data) - set(known) if data[name] is not None):
        if name not in neutral:
            message = f"unknown parameter; known: {', '.join(known)}"
            raise RequestError(message, shown(name, 40), "unknown_parameter")
        if (reason := unsupported.why_refused(name, data[name], neutral)) is not None:
            raise RequestError(reason, name, "unsupported_parameter")


def check_model(data: Mapping[str, Any], model: ModelCard) -> None:
    asked = model.model_id if data.get("model") is None else data["model"]
    if asked != model.model_id and asked not in model.before:
        message = f"no model {shown(repr(asked), 80)} here; this server has {model.model_id!r}"
        raise RequestError(message, "model", "model_not_found", 404)
    if not isinstance(data.get("user", ""), str | None):
        raise RequestError("must be a string", "user")


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
    tokens = {name: token_limit(data, name, limits) for name in ("max_tokens", "max_completion_tokens")}
    return Settings(
        modalities=tuple(name for name in can if name in asked),
        required=media[0] if len(media) == 1 else None,
        seed=int(number(data, "seed", default.seed, 0, 2**63 - 1, whole=True)),
        **sampling(data, limits),
        max_tokens=tokens["max_completion_tokens"] or tokens["max_tokens"] or default.max_tokens,
        temperature=number(data, "temperature", default.temperature, 0, 2),
        top_p=max(LEAST_TOP_P, number(data, "top_p", default.top_p, 0, 1)),
        preview_every=int(number(data, "preview_every", 0, 0, limits.steps, whole=True)),
        stop=parse_stop(data),
        presence_penalty=number(data, "presence_penalty", 0, -2, 2),
        frequency_penalty=number(data, "frequency_penalty", 0, -2, 2),
    )


def token_limit(data: Mapping[str, Any], name: str, limits: Limits) -> int | None:
    """How many text tokens a reply may have, cut to what the server allows; None where nothing is asked."""
    if data.get(name) is None:
        return None
    return min(limits.new_tokens, int(number(data, name, 0, 1, LARGEST, whole=True)))


def parse_stop(data: Mapping[str, Any]) -> tuple[str, ...]:
    """A string or a list of up to four; empty ones stop nothing."""
    stop = data.get("stop")
    found = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(found, list) or len(found) > STOPS:
        raise RequestError(f"must be a string or a list of at most {STOPS}", "stop")
    for n, one in enumerate(found):
        if not isinstance(one, str) or len(one) > STOP_CHARACTERS:
            raise RequestError(f"must be a string of at most {STOP_CHARACTERS} characters", f"stop[{n}]")
    return tuple(one for one in found if one)


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
    # 64.0 is an integer, in JSON too
    right = isinstance(value, int) or (isinstance(value, float) and (not whole or value.is_integer()))
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool) or not right or not finite or not low <= value <= high:
        raise RequestError(f"must be {'an integer' if whole else 'a number'} from {low:,} to {high:,}", name)
    return value


def boolean(data: Mapping[str, Any], name: str, param: str | None = None) -> bool:
    value = data.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError("must be true or false", param or name)
    return value


def mapping(data: Mapping[str, Any], name: str, where: str | None = None) -> Mapping[str, Any]:
    """An object; an empty one where nothing is given. `where`: what a refusal calls the field."""
    value = {} if data.get(name) is None else data[name]
    if not isinstance(value, dict):
        raise RequestError("must be an object", where or name)
    return value


def listed(data: Mapping[str, Any], name: str, where: str | None = None) -> list[Any]:
    """A list; an empty one where nothing is given."""
    value = [] if data.get(name) is None else data[name]
    if not isinstance(value, list):
        raise RequestError("must be a list", where or name)
    return value


def choice(data: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """One of some words; the first where nothing is asked."""
    value = known[0] if data.get(name) is None else data[name]
    if not isinstance(value, str) or value not in known:
        raise RequestError(f"{shown(repr(value), 40)} is none of {', '.join(known)}", name)
    return value


def string(value: Any, param: str) -> str:
    """A string that is whole. Raises RequestError."""
    if not isinstance(value, str):
        raise RequestError("must be a string", param)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError("holds half a character (a lone surrogate)", param) from None
    return value
