"""OpenAPI schemas of responses: replies, media, models, errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from codi2_model.serving.openai.audio_output import FORMATS as AUDIO_FORMATS
from codi2_model.serving.openai.generations import FORMATS
from codi2_model.serving.openai.request_schema import PARTS, TEXT, URL, Schema, optional, thing

COUNT: Schema = {"type": "integer", "minimum": 0}
USAGE = thing(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
    prompt_tokens=COUNT, completion_tokens=COUNT, total_tokens=COUNT,
    prompt_tokens_details=thing(["cached_tokens"], cached_tokens=COUNT),
)  # fmt: skip
CONTENT = {
    "description": "The text. With content_format list: the list of all parts, in the order of their generation.",
    "anyOf": [TEXT, {"type": "array", "items": {"anyOf": PARTS}}],
}
INDEX = {"index": COUNT}
IMAGES = {"type": "array", "items": thing(["type", "image_url", "index"], type=TEXT, image_url=URL, **INDEX)}
VIDEOS = {"type": "array", "items": thing(["type", "video_url", "index"], type=TEXT, video_url=URL, **INDEX)}
SPOKEN = thing(
    ["id", "data", "format", "expires_at", "transcript"],
    id=TEXT, data=TEXT, format=TEXT, expires_at=COUNT, transcript=TEXT,
)  # fmt: skip
ORDER = {
    "description": "The order of text and media. An entry is a text, or the index of a medium in its field.",
    "type": "array",
    "items": thing(["type"], type={"type": "string", "enum": ["text", "image", "audio", "video"]}, text=TEXT, **INDEX),
}
MESSAGE = thing(
    ["role", "content"],
    role={"type": "string", "enum": ["assistant"]}, content=CONTENT, images=IMAGES, audio=optional(SPOKEN), videos=VIDEOS,
    audios={"description": "Further audio.", "type": "array", "items": SPOKEN}, parts=ORDER,
)  # fmt: skip
CHOICE = thing(
    ["index", "message", "finish_reason"],
    index=COUNT, message=MESSAGE, finish_reason={"type": "string", "enum": ["stop", "length"]},
)  # fmt: skip
COMPLETION = thing(
    ["id", "object", "created", "model", "choices", "usage"],
    id=TEXT, object={"type": "string", "enum": ["chat.completion"]}, created=COUNT, model=TEXT,
    choices={"type": "array", "minItems": 1, "maxItems": 1, "items": CHOICE}, usage=USAGE, session=TEXT,
)  # fmt: skip
GENERATED = thing(
    ["created", "data", "output_format", "usage"],
    created=COUNT, output_format={"type": "string", "enum": [form for forms in FORMATS.values() for form in forms]},
    data={"type": "array", "minItems": 1, "items": thing([], b64_json=TEXT, url=TEXT)},
    usage=thing([], input_tokens=COUNT, output_tokens=COUNT, total_tokens=COUNT),
)  # fmt: skip
RESPONSE = thing(
    ["id", "object", "created_at", "model", "status", "output"],
    id=TEXT, object={"type": "string", "enum": ["response"]}, created_at=COUNT, model=TEXT,
    status={"type": "string", "enum": ["completed", "incomplete"]},
    output={"type": "array", "minItems": 1, "items": thing(["type", "id", "status"], type=TEXT, id=TEXT, status=TEXT)},
)  # fmt: skip
NAMES = {"type": "array", "items": TEXT}
MODEL = thing(
    ["id", "object", "created", "owned_by"],
    id=TEXT, object={"type": "string", "enum": ["model"]}, created=COUNT, owned_by=TEXT,
    input_modalities=NAMES, output_modalities=NAMES,
)  # fmt: skip
MODELS = thing(["object", "data"], object={"type": "string", "enum": ["list"]}, data={"type": "array", "items": MODEL})
HEALTH = thing(["status", "model"], status=TEXT, model=TEXT)
READY = thing(["ready"], ready={"type": "boolean"})
ERROR = thing(
    ["error"],
    error=thing(
        ["message", "type", "param", "code"], message=TEXT, type=TEXT, param=optional(TEXT), code=optional(TEXT)
    ),
)
# No type: OpenAPI tools disagree on whether it is that of the stream (a string) or of one event (an object).
EVENTS = {"description": "Server-sent events, if the request asks for them."}

ACCESS_ERRORS = {
    401: "The token is missing or wrong.", 403: "The request comes from a page of another origin.", 404: "Not found.",
    421: "The server does not accept this host name.",
}  # fmt: skip
REQUEST_ERRORS = {
    400: "A field is invalid. `param` names it.", 408: "The body was not sent in time.",
    409: "The session is answering another request.", 413: "The body is too large.", 415: "The body is compressed.",
    429: "Too many active requests. See Retry-After.", 500: "Internal error. The message has a reference to the server's log.",
    503: "The server is shutting down, or a replica was lost. See Retry-After.", 504: "Not answered within the time limit.",
}  # fmt: skip


def answers(
    good: Schema, refusals: dict[int, str] = ACCESS_ERRORS, stream: bool = False
) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: the schema of its response, and its error statuses."""
    content: Schema = {"application/json": {"schema": good}}
    if stream:
        content["text/event-stream"] = {"schema": EVENTS}
    return _with_refusals(content, refusals)


def audio_answers(refusals: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that returns an audio file."""
    names = dict.fromkeys(media_type for media_type, _ in AUDIO_FORMATS.values())
    content: Schema = {name: {"schema": {"type": "string", "format": "binary"}} for name in names}
    return _with_refusals(content | {"text/event-stream": {"schema": EVENTS}}, refusals)


def _with_refusals(content: Schema, refusals: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "Success.", "content": content}}
    for status, description in sorted(refusals.items()):
        responses[status] = {"description": description, "content": {"application/json": {"schema": ERROR}}}
    return responses


def describe(api: FastAPI) -> None:
    """Remove status 422, which FastAPI adds and the API never returns, from the OpenAPI description."""

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            made = get_openapi(title=api.title, version=api.version, routes=api.routes)
            for route in made["paths"].values():
                for operation in route.values():
                    operation["responses"].pop("422", None)
            made.pop("components", None)
            api.openapi_schema = made
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]
