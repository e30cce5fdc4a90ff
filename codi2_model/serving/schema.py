"""What OpenAPI says of bodies, which `protocol.py` and its neighbours check by hand, since their refusals name the field."""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
NUMBER = {"type": "number"}
URL = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "description": "data: URL"}}}
SOUND = {
    "type": "object",
    "required": ["data", "format"],
    "properties": {"data": TEXT, "format": {"type": "string", "enum": ["wav", "mp3", "flac", "ogg", "opus"]}},
}


def _part(kind: str, inner: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", kind],
        "properties": {"type": {"type": "string", "enum": [kind]}, kind: inner},
    }


PARTS = [
    _part("text", TEXT), _part("image_url", URL), _part("video_url", URL), _part("audio_url", URL),
    _part("input_audio", SOUND), _part("audio", SOUND),
]  # fmt: skip
MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"type": "string", "enum": ["system", "developer", "user", "assistant"]},
        "content": {"oneOf": [TEXT, {"type": "array", "minItems": 1, "items": {"anyOf": PARTS}}]},
    },
}


def _whole(low: int, high: int, about: str = "") -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, "description": about}


HOW = {
    "model": TEXT,
    "seed": _whole(0, 2**63 - 1, "The same seed gives the same reply."),
    "steps": _whole(1, 100, "Steps of the decoders."),
    "guidance": {"type": "number", "minimum": 0, "maximum": 30},
    "user": TEXT,
}
CHAT = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        **HOW,
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
        "modalities": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": ["text", "image", "audio", "video"]},
            "description": "What the reply may hold. Text and one medium, or that alone: the reply holds the medium.",
        },
        "max_tokens": _whole(1, 512, "Text tokens of the reply."),
        "max_completion_tokens": _whole(1, 512),
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 0.01, "maximum": 1},
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        "preview_every": _whole(0, 100, "Decoder steps between two previews in a stream; 0: none."),
        "session": {"type": "string", "maxLength": 64, "description": "Keeps what was read for the next turn."},
        "views": {"type": "boolean", "description": "List media in message.images, .audio and .videos as well."},
        "n": _whole(1, 1),
    },
}
GENERATION = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        **HOW,
        "prompt": {"type": "string", "minLength": 1},
        "n": _whole(1, 8),
        "size": TEXT,
        "response_format": {"type": "string", "enum": ["b64_json", "url"]},
    },
}
ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
REFUSALS = {
    400: "A field at fault, which `param` names.", 401: "No token, or not the right one.", 404: "No such model.",
    409: "The session is answering another request.", 413: "Larger than the server takes.",
    429: "As much under way as the server takes on: see Retry-After.", 503: "Shutting down, or a replica was lost.",
    504: "Not answered within the server's time limit.",
}  # fmt: skip


def body(schema: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def refusals() -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that can refuse."""
    return {
        status: {"description": about, "content": {"application/json": {"schema": ERROR}}}
        for status, about in REFUSALS.items()
    }
