"""OpenAPI schemas of requests. `response_schema.py` has those of responses.

Requests are validated in `protocol.py` and other modules, not by these schemas, so that errors name the field at fault.
"""

from __future__ import annotations

from typing import Any

from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.audio_output import ALIASES, FORMATS
from codi2_model.serving.openai.generations import FORMATS as MEDIA_FORMATS
from codi2_model.serving.openai.protocol import CONTENT_FORMATS, LARGEST, STOP_CHARACTERS, STOPS

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


def thing(required: list[str], /, **properties: Schema) -> Schema:
    """An object with these properties."""
    return {"type": "object", "required": required, "properties": properties}


def optional(schema: Schema) -> Schema:
    """The schema or null, because clients send null for missing fields."""
    return {"anyOf": [schema, {"type": "null"}]}


def _whole(low: int, high: int, about: str = "") -> Schema:
    number: Schema = {"type": "integer", "minimum": low, "maximum": high}
    return optional(number | {"description": about} if about else number)


def _number(low: float, high: float) -> Schema:
    return optional({"type": "number", "minimum": low, "maximum": high})


def _part(kind: str, inner: Schema) -> Schema:
    return thing(["type", kind], **{"type": {"type": "string", "enum": [kind]}, kind: inner})


URL = thing(
    ["url"], url={"type": "string", "description": "data: URL, or a URL of a host that the server fetches from"}
)
AUDIO = thing(["data"], data=TEXT, format={"description": "Ignored: the format is detected from the bytes."})
FILE = thing(["file_data"], file_data=TEXT)
PARTS = [
    _part("text", TEXT), _part("image_url", URL), _part("video_url", URL), _part("audio_url", URL),
    _part("input_audio", AUDIO), _part("audio", AUDIO), _part("file", FILE),
]  # fmt: skip
CONTENT: Schema = {"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": {"anyOf": PARTS}}]}
MESSAGE = {
    "anyOf": [
        thing(
            ["role", "content"],
            role={"type": "string", "enum": ["system", "developer", "user"]},
            content=CONTENT,
        ),
        thing(
            ["role"],
            role={"type": "string", "enum": ["assistant"]},
            content={"description": "As in replies, with media in the other fields; may be null or missing."},
        ),
    ]
}
AUDIO_NAMES = {"type": "string", "enum": [*FORMATS, *ALIASES]}


def _common(limits: Limits) -> dict[str, Schema]:
    return {
        "model": {"type": "string", "description": "Id of the model, from /v1/models."},
        "seed": _whole(0, 2**63 - 1, "The same seed gives the same reply."),
        "steps": _whole(1, limits.steps, "Number of decoder steps."),
        "guidance": _number(0, 30),
        "user": optional(TEXT),
    }


def chat(limits: Limits) -> Schema:
    """The body of `/v1/chat/completions`."""
    kinds = {"type": "string", "enum": ["text", "image", "audio", "video"]}
    modalities = {
        "type": "array", "minItems": 1, "items": kinds,
        "description": "Allowed modalities of the reply. With only one besides text, the reply contains that one.",
    }  # fmt: skip
    session = {
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "description": "Name of a conversation whose key-value cache is kept for the next turn.",
    }
    stop_one: Schema = {"type": "string", "maxLength": STOP_CHARACTERS}
    stop: Schema = {"anyOf": [stop_one, {"type": "array", "maxItems": STOPS, "items": stop_one}]}
    return thing(
        ["messages"],
        **_common(limits),
        messages={"type": "array", "minItems": 1, "maxItems": limits.messages, "items": MESSAGE},
        modalities=optional(modalities),
        max_tokens=_tokens(limits),
        max_completion_tokens=_tokens(limits),
        temperature=_number(0, 2),
        top_p=_number(0, 1),
        stop=optional(stop | {"description": "The reply ends before the first of these strings."}),
        presence_penalty=_number(-2, 2),
        frequency_penalty=_number(-2, 2),
        audio=optional(
            thing([], format=optional(AUDIO_NAMES | {"description": "Format of audio in the reply. Default: wav."}))
        ),
        stream=optional({"type": "boolean"}),
        stream_options=optional(thing([], include_usage=optional({"type": "boolean"}))),
        preview_every=_whole(0, limits.steps, "Decoder steps between two previews in a stream. 0: no previews."),
        session=optional(session),
        content_format=optional(
            {
                "type": "string",
                "enum": list(CONTENT_FORMATS),
                "description": "list: message.content is the list of all parts.",
            }
        ),
        n=_whole(1, 1),
    )


def _tokens(limits: Limits) -> Schema:
    return _whole(1, LARGEST, f"Maximum number of text tokens of the reply; at most {limits.new_tokens} are generated.")


def responses(limits: Limits) -> Schema:
    """The body of `/v1/responses`."""
    return thing(
        ["input"],
        **_common(limits),
        input={"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": {"type": "object"}}]},
        instructions=optional(TEXT),
        max_output_tokens=_tokens(limits),
        temperature=_number(0, 2),
        top_p=_number(0, 1),
        stream=optional({"type": "boolean"}),
        tools=optional(
            {"type": "array", "items": thing(["type"], type={"type": "string", "enum": ["image_generation"]})}
        ),
    )


def generation(limits: Limits, most: int, modality: str) -> Schema:
    """The body of `/v1/images/generations` and the same routes of audio and videos. `most`: maximum of `n`."""
    form = {"type": "string", "enum": ["b64_json", "url"]}
    return thing(
        ["prompt"],
        **_common(limits),
        prompt={"type": "string", "minLength": 1, "maxLength": limits.text_characters},
        n=_whole(1, most),
        size=optional(TEXT | {"description": "auto, or the size that the model generates"}),
        response_format=optional(form),
        output_format=optional({"type": "string", "enum": list(MEDIA_FORMATS[modality])}),
    )


def edit(limits: Limits, most: int) -> Schema:
    """The body of `/v1/images/edits` as JSON; a form has files named `image` instead of `images`."""
    schema = generation(limits, most, "image")
    image = {"anyOf": [TEXT, thing(["image_url"], image_url=TEXT)]}
    schema["properties"]["images"] = {"type": "array", "minItems": 1, "maxItems": limits.media, "items": image}
    return {**schema, "required": ["prompt", "images"]}


def speech(limits: Limits) -> Schema:
    """The body of `/v1/audio/speech`."""
    return thing(
        ["input"],
        **_common(limits),
        input={"type": "string", "minLength": 1, "maxLength": limits.text_characters},
        response_format=optional(AUDIO_NAMES | {"description": "Default: mp3."}),
        stream_format=optional({"type": "string", "enum": ["audio", "sse"]}),
    )


def body(schema: Schema, form: bool = False) -> Schema:
    """`openapi_extra` of a route that parses its body itself. `form`: it also accepts a form with files."""
    content: Schema = {"application/json": {"schema": schema}}
    if form:
        content["multipart/form-data"] = {"schema": {"type": "object"}}
    return {"requestBody": {"required": True, "content": content}}
