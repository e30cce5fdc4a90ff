"""Media generation from a prompt: `/v1/images/generations`, the same for audio and videos, and `/v1/images/edits`.

A request becomes one chat request for each medium.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Mapping
from typing import Any

from PIL import Image

from codi2_model.decoders.upscaler import FACTOR
from codi2_model.serving.http.media import Limits, MediaRefused, encoded, read_medium
from codi2_model.serving.http.multipart import Form
from codi2_model.serving.openai import unsupported
from codi2_model.serving.openai.chat_response import Reply
from codi2_model.serving.openai.fields import RequestError, excerpt, number, string
from codi2_model.serving.openai.messages import Fetch, read_url
from codi2_model.serving.openai.protocol import ChatRequest, ModelCard, Settings, check_model, known_fields, sampling

ROUTES = {"images": "image", "audio": "audio", "videos": "video"}
FORMATS = {"image": ("png", "jpeg", "webp"), "audio": ("wav",), "video": ("mp4",)}
FIELDS = ("prompt", "model", "n", "size", "response_format", "output_format", "seed", "steps", "guidance", "user")
EDIT_FIELDS = ("image", "images", *FIELDS)
NUMBERS = ("n", "seed", "steps", "guidance", "output_compression", "partial_images")
MOST = 8  # media of one request
Sizes = Mapping[str, int]
"""Side in pixels of the media that the model generates, by modality."""


def sizes_of(config: Any) -> dict[str, int]:
    """The sizes by a model's config. Some image decoders include an upscaler."""
    upscaled = "image" in config.modalities and getattr(config.decoder("image"), "upscale", None) is not None
    sizes = {"image": int(config.image_size) * (FACTOR if upscaled else 1), "video": int(config.video.size)}
    return {name: side for name, side in sizes.items() if name in config.modalities}


def parse_generation(
    data: Mapping[str, Any], modality: str, model: ModelCard, limits: Limits, sizes: Sizes
) -> list[ChatRequest]:
    """One chat request for each of the `n` media, with increasing seeds. Raises RequestError with the name of the field."""
    known_fields(data, FIELDS, unsupported.IMAGES)
    return _requests(data, modality, model, limits, sizes, [])


def parse_edit(
    data: Mapping[str, Any], model: ModelCard, limits: Limits, sizes: Sizes, fetch: Fetch | None
) -> list[ChatRequest]:
    """Like `parse_generation`, with images before the prompt.

    `data`: JSON with `images` ([{"image_url": ...}]), or the result of `edit_fields` for a form.
    """
    known_fields(data, EDIT_FIELDS, unsupported.IMAGES)
    param = "image" if data.get("image") is not None else "images"
    value = data.get(param)
    images = value if isinstance(value, list) else [value]
    if value is None or not images:
        raise RequestError("an image to edit is missing", "image", "missing_required_parameter")
    if len(images) > limits.media:
        raise RequestError(f"more than {limits.media} images", param, "too_many")
    if "image" not in model.has:
        raise RequestError(f"this model does not support images; it supports {', '.join(model.has)}", param)
    parts = [_image(image, f"{param}[{n}]", limits, fetch) for n, image in enumerate(images)]
    return _requests(data, "image", model, limits, sizes, parts)


def edit_fields(form: Form) -> dict[str, Any]:
    """The fields of a form with the types of JSON: numbers as numbers; files as bytes."""
    fields: dict[str, Any] = {}
    for name, values in form.items():
        if name in ("image", "mask"):
            fields[name] = values
            continue
        try:
            text = values[-1].decode()
        except UnicodeDecodeError:
            raise RequestError("must be a string", excerpt(name, 40)) from None
        fields[name] = _from_text(name, text)
    return fields


def _from_text(name: str, text: str) -> Any:
    if name not in NUMBERS and name != "stream":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError(f"{excerpt(repr(text), 40)} is not valid JSON", name) from None


def _image(image: Any, where: str, limits: Limits, fetch: Fetch | None) -> dict[str, Any]:
    url = image.get("image_url") if isinstance(image, dict) else image
    url = url.get("url") if isinstance(url, dict) else url
    try:
        if isinstance(url, bytes):
            return {"type": "image", "value": read_medium("image", url, limits)}
        if isinstance(url, str):
            return {"type": "image", "value": read_medium("image", read_url(url, "image", limits, fetch), limits)}
    except MediaRefused as error:
        raise RequestError(str(error), where, "invalid_image") from error
    raise RequestError("must be a file in a form, or an object with image_url", where)


def _requests(
    data: Mapping[str, Any], modality: str, model: ModelCard, limits: Limits, sizes: Sizes, before: list[dict[str, Any]]
) -> list[ChatRequest]:
    check_model(data, model)
    content = [*before, {"type": "text", "text": prompt_of(data, "prompt", limits)}]
    _check_form(data, modality, sizes)
    count = int(number(data, "n", 1, 1, MOST, whole=True))
    seed = int(number(data, "seed", secrets.randbelow(2**31), 0, 2**63 - 1 - MOST, whole=True))
    return [one_medium(data, modality, model, content, limits, seed + n) for n in range(count)]


def one_medium(
    data: Mapping[str, Any], modality: str, model: ModelCard, content: list[dict[str, Any]], limits: Limits, seed: int
) -> ChatRequest:
    """A chat request for exactly one medium."""
    if modality not in model.has:
        raise RequestError(
            f"this model does not generate {modality}; it supports {', '.join(model.has)}", "model", "unsupported", 404
        )
    settings = Settings(modalities=(modality,), required=modality, seed=seed, **sampling(data, limits))
    return ChatRequest([{"role": "user", "content": content}], settings)


def prompt_of(data: Mapping[str, Any], name: str, limits: Limits) -> str:
    """The prompt in the field `name`. Raises RequestError if it is missing, empty or too long."""
    prompt = data.get(name)
    if not isinstance(prompt, str) or not prompt.strip():
        raise RequestError("must be a non-empty string", name, "missing_required_parameter")
    if len(prompt) > limits.text_characters:
        raise RequestError(f"more than {limits.text_characters:,} characters", name)
    return string(prompt, name)


def _check_form(data: Mapping[str, Any], modality: str, sizes: Sizes) -> None:
    size, side = data.get("size"), sizes.get(modality)
    if modality != "audio" and size not in (None, "auto", f"{side}x{side}"):
        message = f"this model generates {side}x{side}, not {excerpt(repr(size), 30)}: leave size out"
        raise RequestError(message, "size")
    if data.get("output_format") not in (None, *FORMATS[modality]):
        raise RequestError(f"must be {' or '.join(FORMATS[modality])}", "output_format")
    if data.get("response_format") not in (None, "b64_json", "url"):
        raise RequestError("must be b64_json or url (a data: URL)", "response_format")


def generation_json(replies: list[Reply], modality: str, created: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """The response with the media, in the format of OpenAI's image generation. `data`: the request."""
    form = data.get("output_format") or FORMATS[modality][0]
    media = []
    for reply in replies:
        value = next(part["value"] for part in reply.content if part["type"] == modality)
        text = image_as(value, form) if modality == "image" else encoded(modality, value)
        as_url = data.get("response_format") == "url"
        media.append({"url": f"data:{modality}/{form};base64,{text}"} if as_url else {"b64_json": text})
    inputs = sum(reply.prompt_tokens for reply in replies)
    outputs = sum(reply.completion_tokens for reply in replies)
    usage = {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs}
    return {"created": created, "data": media, "output_format": form, "usage": usage}


def image_as(image: Image.Image, form: str) -> str:
    """An image file in base64. Equal images give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format=form.upper(), **({} if form == "png" else {"quality": 95}))
    return base64.b64encode(buffer.getvalue()).decode()
