"""Parses OpenAI's chat completion requests into `ChatRequest`, without a web framework and without a model.

`messages.py` reads the conversation, `unsupported.py` lists parameters that are refused, `chat_response.py` writes replies.
Every error names the field at fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codi2_model.config import MODALITIES as MEDIA
from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai import audio_output, unsupported
from codi2_model.serving.openai.assistant_turns import Earlier
from codi2_model.serving.openai.fields import RequestError, boolean, choice, excerpt, mapping, number
from codi2_model.serving.openai.messages import Fetch, read_messages

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


@dataclass(frozen=True)
class Settings:
    """Generation settings of a reply."""

    modalities: tuple[str, ...] = MODALITIES
    required: str | None = None
    """A modality that the reply must contain: set if the request lists only one besides text."""
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    """Classifier-free guidance of the decoders; None: that of the model's config."""
    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    preview_every: int = 0
    stop: tuple[str, ...] = ()
    """The reply ends before the first of these strings in its text."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of each text token that the reply contains already."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a text token for each occurrence in the reply."""


@dataclass(frozen=True)
class ChatRequest:
    """A validated request. Media parts of `messages` have a `value`: RGB image, mono float32 at 16 kHz, or frames."""

    messages: list[dict[str, Any]]
    settings: Settings
    stream: bool = False
    include_usage: bool = False
    content_format: str = "string"
    """`string`: `message.content` is the text, media are in other fields. `list`: it is the list of all parts."""
    audio_format: str = "wav"
    """Format of audio in the reply: a key of `audio_output.FORMATS`."""
    session: str | None = None
    """Name of the conversation whose key-value cache is kept."""
    marks: tuple[str, ...] = ()
    """A hash of each message, by which a session finds the messages it has cached. Empty without a session."""


@dataclass(frozen=True)
class ModelCard:
    """The model's name, its modalities besides text, and former names that requests may still use (`before`)."""

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
    """Parse a JSON body.

    `fetch`: fetches remote media; None refuses them. `earlier`: returns the stored parts of a reply by the id of its audio.
    Raises RequestError with the name of the field at fault.
    """
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
    reply_format = parse_audio_format(data)
    messages, marks = read_messages(data.get("messages"), limits, model.has, fetch, earlier)
    session_marks = marks if session else ()
    return ChatRequest(messages, settings, stream, usage, content_format, reply_format, session, session_marks)


def parse_audio_format(data: Mapping[str, Any]) -> str:
    """The field `audio.format`, wav by default. `audio.voice` is accepted and ignored."""
    return audio_format(mapping(data, "audio").get("format"), "audio.format", "wav")


def audio_format(name: Any, param: str, default: str) -> str:
    """A key of `audio_output.FORMATS`; `default` if `name` is None."""
    form = default if name is None else audio_output.format_named(name)
    if form is None:
        raise RequestError(f"{excerpt(repr(name), 40)} is not one of {', '.join(audio_output.FORMATS)}", param)
    return form


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object of limited depth."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON", code="invalid_json") from error
    if not isinstance(data, dict):
        raise RequestError("the body must be a JSON object", code="invalid_json")
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
    if level:
        raise RequestError(f"the body is nested deeper than {DEEPEST} levels", code="invalid_json")
    return data


def known_fields(data: Mapping[str, Any], known: tuple[str, ...], neutral: unsupported.Neutral) -> None:
    """Raise RequestError for a field that is unknown, or that this model does not support at this value."""
    for name in sorted(name for name in set(data) - set(known) if data[name] is not None):
        if name not in neutral:
            message = f"unknown parameter; known: {', '.join(known)}"
            raise RequestError(message, excerpt(name, 40), "unknown_parameter")
        if (reason := unsupported.why_refused(name, data[name], neutral)) is not None:
            raise RequestError(reason, name, "unsupported_parameter")


def check_model(data: Mapping[str, Any], model: ModelCard) -> None:
    name = model.model_id if data.get("model") is None else data["model"]
    if name != model.model_id and name not in model.before:
        message = f"no model {excerpt(repr(name), 80)}; this server has {model.model_id!r}"
        raise RequestError(message, "model", "model_not_found", 404)
    if not isinstance(data.get("user", ""), str | None):
        raise RequestError("must be a string", "user")


def parse_settings(data: Mapping[str, Any], limits: Limits, has: tuple[str, ...]) -> Settings:
    """The generation settings. `has`: modalities of the model besides text."""
    default = Settings()
    known = ("text", *has)
    modalities = list(known) if data.get("modalities") is None else data["modalities"]
    if not isinstance(modalities, list) or not modalities:
        raise RequestError(f"must be a list with any of {', '.join(known)}", "modalities")
    for n, name in enumerate(modalities):
        if not isinstance(name, str) or name not in known:
            message = f"unknown modality {excerpt(repr(name), 40)}; known: {', '.join(known)}"
            raise RequestError(message, f"modalities[{n}]")
    media = [name for name in known if name in modalities and name != "text"]
    tokens = {name: token_limit(data, name, limits) for name in ("max_tokens", "max_completion_tokens")}
    return Settings(
        modalities=tuple(name for name in known if name in modalities),
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
    """The maximum number of text tokens of a reply, at most that of the server; None if the field is missing."""
    if data.get(name) is None:
        return None
    return min(limits.new_tokens, int(number(data, name, 0, 1, LARGEST, whole=True)))


def parse_stop(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The stop sequences: a string or a list of up to `STOPS` strings. Empty strings are ignored."""
    stop = data.get("stop")
    sequences = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(sequences, list) or len(sequences) > STOPS:
        raise RequestError(f"must be a string or a list of at most {STOPS}", "stop")
    for n, sequence in enumerate(sequences):
        if not isinstance(sequence, str) or len(sequence) > STOP_CHARACTERS:
            raise RequestError(f"must be a string of at most {STOP_CHARACTERS} characters", f"stop[{n}]")
    return tuple(sequence for sequence in sequences if sequence)


def sampling(data: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """`steps` and `guidance` of the decoders, if the request has them."""
    fields: dict[str, Any] = {}
    if data.get("steps") is not None:
        fields["steps"] = int(number(data, "steps", 0, 1, limits.steps, whole=True))
    if data.get("guidance") is not None:
        fields["guidance"] = number(data, "guidance", 0, 0, 30)
    return fields
