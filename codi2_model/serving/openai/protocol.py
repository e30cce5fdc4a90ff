"""Parses OpenAI's chat completion requests into `ChatRequest`, without a web framework and without a model.

`chat_models.py` describes the body, `messages.py` decodes the media, `chat_response.py` writes replies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from codi2_model.config import MODALITIES as MEDIA
from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.assistant_turns import Earlier, assistant_content
from codi2_model.serving.openai.content_models import mark
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.messages import ROLES, Fetch, Turn, read_turns
from codi2_model.serving.openai.request_models import ChatBody, CommonBody
from codi2_model.serving.openai.validation import ModelCard, Server

MODALITIES = ("text", *MEDIA)
LEAST_TOP_P = 0.01
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
    server = Server(model, limits)
    chat = ChatBody.parse(parse_object(body), server)
    turns = []
    for n, message in enumerate(chat.messages):
        where = f"messages[{n}]"
        content = assistant_content(message, where, earlier) if message.role == "assistant" else message.content
        turns.append(Turn(message.role, content, where))
    settings = settings_of(
        chat, chat.modalities or ["text", *model.has], chat.max_completion_tokens or chat.max_tokens, limits,
        stop=tuple(filter(None, chat.stop)),
    )  # fmt: skip
    return ChatRequest(
        read_turns(turns, server, fetch),
        settings,
        chat.stream,
        chat.stream_options.include_usage,
        chat.content_format,
        chat.audio.format,
        chat.session,
        tuple(mark(ROLES[turn.role], turn.content) for turn in turns) if chat.session else (),
    )


def settings_of(
    body: CommonBody, modalities: Sequence[str], max_tokens: int | None, limits: Limits, **more: Any
) -> Settings:
    """The generation settings. `max_tokens`: what the request allows, at most that of the server is used."""
    known = {field.name for field in fields(Settings)} & body.model_fields_set
    settings = {name: getattr(body, name) for name in known} | more
    media = [name for name in MEDIA if name in modalities]
    settings["modalities"] = tuple(name for name in MODALITIES if name in modalities)
    settings["required"] = media[0] if len(media) == 1 else None
    settings["top_p"] = max(LEAST_TOP_P, settings.get("top_p", 1.0))
    settings["max_tokens"] = min(limits.new_tokens, max_tokens) if max_tokens else Settings.max_tokens
    return Settings(**settings)


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
