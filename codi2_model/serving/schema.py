"""What OpenAPI says of requests, which `protocol.py` and its neighbours check by hand, since their refusals name the field.

`described.py` beside this file says the same of answers.
"""

from __future__ import annotations

from typing import Any

from codi2_model.serving.media import AUDIO_FORMATS, Limits

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


def thing(required: list[str], /, **properties: Schema) -> Schema:
    """An object with these properties."""
    return {"type": "object", "required": required, "properties": properties}


def optional(schema: Schema) -> Schema:
    """The same, or null: clients send null for what they leave out."""
    return {"anyOf": [schema, {"type": "null"}]}


def _whole(low: int, high: int, about: str = "") -> Schema:
    number: Schema = {"type": "integer", "minimum": low, "maximum": high}
    return optional(number | {"description": about} if about else number)


def _number(low: float, high: float) -> Schema:
    return optional({"type": "number", "minimum": low, "maximum": high})


def _part(kind: str, inner: Schema) -> Schema:
    return thing(["type", kind], **{"type": {"type": "string", "enum": [kind]}, kind: inner})


URL = thing(
    ["url"], url={"type": "string", "description": "data: URL; others where the server fetches from their hosts"}
)
SOUND = thing(["data", "format"], data=TEXT, format={"type": "string", "enum": list(AUDIO_FORMATS)})
PARTS = [
    _part("text", TEXT), _part("image_url", URL), _part("video_url", URL), _part("audio_url", URL),
    _part("input_audio", SOUND), _part("audio", SOUND),
]  # fmt: skip
MESSAGE = thing(
    ["role", "content"],
    role={"type": "string", "enum": ["system", "developer", "user", "assistant"]},
    content={"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": {"anyOf": PARTS}}]},
)


def _common(limits: Limits) -> dict[str, Schema]:
    return {
        "model": {"type": "string", "description": "As /v1/models names it."},
        "seed": _whole(0, 2**63 - 1, "The same seed gives the same reply."),
        "steps": _whole(1, limits.steps, "Steps of the decoders."),
        "guidance": _number(0, 30),
        "user": optional(TEXT),
    }


def chat(limits: Limits) -> Schema:
    """The body of `/v1/chat/completions`."""
    kinds = {"type": "string", "enum": ["text", "image", "audio", "video"]}
    modalities = {
        "type": "array", "minItems": 1, "items": kinds,
        "description": "What the reply may hold. Text and one medium, or that alone: the reply holds the medium.",
    }  # fmt: skip
    session = {
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "description": "Keeps what was read for the next turn.",
    }
    return thing(
        ["messages"],
        **_common(limits),
        messages={"type": "array", "minItems": 1, "maxItems": limits.messages, "items": MESSAGE},
        modalities=optional(modalities),
        max_tokens=_whole(1, limits.new_tokens, "Text tokens of the reply."),
        max_completion_tokens=_whole(1, limits.new_tokens),
        temperature=_number(0, 2),
        top_p=_number(0.01, 1),
        stream=optional({"type": "boolean"}),
        stream_options=optional(thing([], include_usage=optional({"type": "boolean"}))),
        preview_every=_whole(0, limits.steps, "Decoder steps between two previews in a stream; 0: none."),
        session=optional(session),
        views=optional({"type": "boolean", "description": "List media in message.images, .audio and .videos as well."}),
        n=_whole(1, 1),
    )


def generation(limits: Limits, most: int) -> Schema:
    """The body of `/v1/images/generations` and its sisters, at most so many media at once."""
    form = {"type": "string", "enum": ["b64_json", "url"]}
    return thing(
        ["prompt"],
        **_common(limits),
        prompt={"type": "string", "minLength": 1, "maxLength": limits.text_characters},
        n=_whole(1, most),
        size=optional(TEXT | {"description": "auto, or the size that the model makes"}),
        response_format=optional(form),
    )


def body(schema: Schema) -> Schema:
    """`openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
