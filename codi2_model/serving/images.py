"""`/v1/images/generations` and its sisters for sounds and clips: a prompt -> media, as chat requests that hold just it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codi2_model.serving.media import Limits, encoded
from codi2_model.serving.protocol import (
    ChatRequest,
    RequestError,
    Settings,
    check_model,
    known_fields,
    number,
    sampling,
    shown,
)
from codi2_model.serving.wire import Reply

ROUTES = {"images": "image", "audio": "audio", "videos": "video"}
FORMATS = {"image": ("png", "image/png"), "audio": ("wav", "audio/wav"), "video": ("mp4", "video/mp4")}
FIELDS = (
    "prompt", "model", "n", "size", "response_format", "output_format", "seed", "steps", "guidance", "user", "quality",
    "style", "background", "moderation",
)  # fmt: skip
MOST = 8


def parse_generation(
    data: Mapping[str, Any],
    modality: str,
    model_id: str,
    limits: Limits,
    has: tuple[str, ...],
    side: int | None,
    before: tuple[str, ...] = (),
) -> list[ChatRequest]:
    """One request for each medium asked for, with seeds that count up. Raises RequestError naming the field."""
    known_fields(data, FIELDS)
    check_model(data, model_id, before)
    if modality not in has:
        raise RequestError(f"this model makes no {modality}: it has {', '.join(has)}", "model", "unsupported", 404)
    prompt = data.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise RequestError("must be a text that is not empty", "prompt", "missing_required_parameter")
    if len(prompt) > limits.text_characters:
        raise RequestError(f"more than {limits.text_characters:,} characters", "prompt")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise RequestError("holds half a character (a lone surrogate)", "prompt") from None
    _check_form(data, modality, side)
    count = int(number(data, "n", 1, 1, MOST, whole=True))
    seed = int(number(data, "seed", secrets.randbelow(2**31), 0, 2**63 - 1 - MOST, whole=True))
    settings = Settings(
        modalities=(modality,),
        required=modality,
        **sampling(data, limits),
    )
    messages = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
    return [ChatRequest(messages, replace(settings, seed=seed + n)) for n in range(count)]


def _check_form(data: Mapping[str, Any], modality: str, side: int | None) -> None:
    extension = FORMATS[modality][0]
    sizes = (None, "auto", f"{side}x{side}")
    if modality != "audio" and data.get("size") not in sizes:
        message = (
            f"this model makes {side}x{side}, not {shown(repr(data['size']), 30)}: leave size out, or ask for that"
        )
        raise RequestError(message, "size")
    if data.get("output_format") not in (None, extension):
        raise RequestError(f"must be {extension}", "output_format")
    if data.get("response_format") not in (None, "b64_json", "url"):
        raise RequestError("must be b64_json or url (a data: URL)", "response_format")


def generation_json(replies: list[Reply], modality: str, created: int, as_url: bool) -> dict[str, Any]:
    """The media, as OpenAI's image generation gives them."""
    extension, media_type = FORMATS[modality]
    data = []
    for reply in replies:
        text = encoded(modality, next(part["value"] for part in reply.content if part["type"] == modality))
        data.append({"url": f"data:{media_type};base64,{text}"} if as_url else {"b64_json": text})
    read = sum(reply.prompt_tokens for reply in replies)
    written = sum(reply.completion_tokens for reply in replies)
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return {"created": created, "data": data, "output_format": extension, "usage": usage}
