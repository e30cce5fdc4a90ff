"""Pydantic models of responses, by which OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from codi2_model.serving.openai.audio_output import FORMATS
from codi2_model.serving.openai.content_models import Message, Part

Count = Annotated[int, Field(ge=0)]
MODEL = "#/components/schemas/{model}"
Responses = dict[int | str, dict[str, Any]]


class Reply(Message):
    """The message of a reply. A client may send it back as it is."""

    content: str | list[Part] = Field(  # type: ignore[assignment]
        description="The text. With content_format list: the list of all parts, in the order of their generation."
    )


class Choice(BaseModel):
    index: Count
    message: Reply
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: dict[str, Count]


class Completion(BaseModel):
    id: str
    model: str
    object: Literal["chat.completion"]
    created: Count
    choices: list[Choice] = Field(min_length=1, max_length=1)
    usage: Usage
    session: str = ""


class OutputItem(BaseModel):
    type: str
    id: str
    status: str


class Response(BaseModel):
    id: str
    model: str
    object: Literal["response"]
    created_at: Count
    status: Literal["completed", "incomplete"]
    output: list[OutputItem] = Field(min_length=1)


class Generated(BaseModel):
    created: Count
    data: list[dict[str, str]] = Field(min_length=1)
    output_format: str
    usage: dict[str, Count]


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: Count
    owned_by: str = "codi2-open"
    input_modalities: list[str]
    output_modalities: list[str]


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Error(BaseModel):
    """The fields message, type, param and code."""

    error: dict[str, str | None]


# No type: OpenAPI tools disagree on whether it is that of the stream (a string) or of one event (an object).
EVENTS = {"text/event-stream": {"schema": {"description": "Server-sent events, if the request asks for them."}}}
ACCESS_ERRORS = {
    401: "The token is missing or wrong.", 403: "The request comes from a page of another origin.", 404: "Not found.",
    421: "The server does not accept this host name.",
}  # fmt: skip
REQUEST_ERRORS = ACCESS_ERRORS | {
    400: "A field is invalid. `param` names it.", 408: "The body was not sent in time.",
    409: "The session is answering another request.", 413: "The body is too large.", 415: "The body is compressed.",
    429: "Too many active requests. See Retry-After.", 500: "Internal error. The message has a reference to the server's log.",
    503: "The server is shutting down, or a replica was lost. See Retry-After.", 504: "Not answered within the time limit.",
}  # fmt: skip


def errors(statuses: Mapping[int, str] = ACCESS_ERRORS) -> Responses:
    """`responses` of a route: its error statuses."""
    return {status: {"description": text, "model": Error} for status, text in sorted(statuses.items())}


def answers(model: type[BaseModel], stream: bool = False) -> Responses:
    """`responses` of a route that generates: the model of its response, and its error statuses."""
    success = {"model": model, "description": "Success.", "content": dict(EVENTS) if stream else {}}
    return {200: success, **errors(REQUEST_ERRORS)}


def audio_answers() -> Responses:
    """`responses` of a route that returns an audio file."""
    file = {"schema": {"type": "string", "format": "binary"}}
    content = {media_type: file for media_type, _ in FORMATS.values()} | EVENTS
    return {200: {"description": "Success.", "content": content}, **errors(REQUEST_ERRORS)}


def request_body(body: type[BaseModel], form: bool = False) -> dict[str, Any]:
    """`openapi_extra` of a route that parses its body itself. `form`: it also accepts a form with files."""
    content: dict[str, Any] = {"application/json": {"schema": body.model_json_schema(ref_template=MODEL)}}
    if form:
        content["multipart/form-data"] = {"schema": {"type": "object"}}
    return {"requestBody": {"required": True, "content": content}}


def describe(api: FastAPI) -> None:
    """Add the models of request bodies to the OpenAPI description, without status 422, which the API never returns."""

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            made = get_openapi(title=api.title, version=api.version, routes=api.routes)
            for operation in (operation for path in made["paths"].values() for operation in path.values()):
                operation["responses"].pop("422", None)
                for body in operation.get("requestBody", {}).get("content", {}).values():
                    made["components"]["schemas"] |= body["schema"].pop("$defs", {})
            api.openapi_schema = made
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]
