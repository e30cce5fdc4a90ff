"""What OpenAPI says of answers: replies, media, models, refusals."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from codi2_model.serving.schema import PARTS, TEXT, Schema, optional, thing

COUNT: Schema = {"type": "integer", "minimum": 0}
USAGE = thing(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
    prompt_tokens=COUNT, completion_tokens=COUNT, total_tokens=COUNT,
    prompt_tokens_details=thing(["cached_tokens"], cached_tokens=COUNT),
)  # fmt: skip
CONTENT = {
    "description": "A text where text alone was asked for, else parts in the order that they were made.",
    "anyOf": [TEXT, {"type": "array", "items": {"anyOf": PARTS}}],
}
MESSAGE = thing(["role", "content"], role={"type": "string", "enum": ["assistant"]}, content=CONTENT)
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
    created=COUNT, output_format={"type": "string", "enum": ["png", "wav", "mp4"]},
    data={"type": "array", "minItems": 1, "items": thing([], b64_json=TEXT, url=TEXT)},
    usage=thing([], input_tokens=COUNT, output_tokens=COUNT, total_tokens=COUNT),
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
EVENTS = {"type": "string", "description": "chat.completion.chunk objects as server-sent events, where stream is true."}

GATE = {
    401: "No token, or not the right one.", 403: "A page of another origin asks.", 404: "Nothing of that name.",
    421: "The server does not answer to that host name.",
}  # fmt: skip
ASKING = {
    400: "A field at fault, which `param` names.", 408: "The request took too long to come.",
    409: "The session is answering another request.", 413: "Larger than the server takes.", 415: "A compressed body.",
    429: "As much under way as the server takes on: see Retry-After.", 500: "A failure inside, named in the server's log.",
    503: "Shutting down, or a replica was lost: see Retry-After.", 504: "Not answered within the server's time limit.",
}  # fmt: skip


def answers(good: Schema, refusals: dict[int, str] = GATE, stream: bool = False) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: the schema of its good answer, and why it may refuse."""
    content: Schema = {"application/json": {"schema": good}}
    if stream:
        content["text/event-stream"] = {"schema": EVENTS}
    found: dict[int | str, dict[str, Any]] = {200: {"description": "The answer.", "content": content}}
    for status, about in sorted(refusals.items()):
        found[status] = {"description": about, "content": {"application/json": {"schema": ERROR}}}
    return found


def describe(api: FastAPI) -> None:
    """Have the app describe itself as it is: it never answers 422, which FastAPI would add."""

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
