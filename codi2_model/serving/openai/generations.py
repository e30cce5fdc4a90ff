"""Media generation from a prompt: `/v1/images/generations`, the same for audio and videos, and `/v1/images/edits`.

A request becomes one chat request for each medium.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from codi2_model.decoders.upscaler import FACTOR
from codi2_model.serving.http.media import Limits, MediaRefused, encoded, read_medium
from codi2_model.serving.http.multipart import Form
from codi2_model.serving.openai.chat_response import Reply
from codi2_model.serving.openai.errors import RequestError, excerpt
from codi2_model.serving.openai.messages import Fetch, read_url
from codi2_model.serving.openai.protocol import ChatRequest, Settings
from codi2_model.serving.openai.request_models import LARGEST, CommonBody, ImageOptions, Prompt, one_or_more
from codi2_model.serving.openai.validation import Items, Server, only

ROUTES = {"images": "image", "audio": "audio", "videos": "video"}
NUMBERS = ("n", "seed", "steps", "guidance", "output_compression", "partial_images")
MOST = 8  # media of one request
Sizes = Mapping[str, int]
"""Side in pixels of the media that the model generates, by modality."""


def sizes_of(config: Any) -> dict[str, int]:
    """The sizes by a model's config. Some image decoders include an upscaler."""
    upscaled = "image" in config.modalities and getattr(config.decoder("image"), "upscale", None) is not None
    sizes = {"image": int(config.image_size) * (FACTOR if upscaled else 1), "video": int(config.video.size)}
    return {name: side for name, side in sizes.items() if name in config.modalities}


class GenerationBody(ImageOptions, CommonBody):
    """The body of `/v1/images/generations`, and the base of those of audio and videos."""

    prompt: Prompt
    n: int = Field(1, ge=1, le=MOST)
    seed: int | None = Field(None, ge=0, le=LARGEST - MOST)  # type: ignore[assignment]
    size: Any = Field("auto", description="auto, or the size that the model generates")
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: str
    style: Any = only()
    stream: Any = only(False, why="this route does not stream: use /v1/chat/completions")
    mask: Any = only(why="this model edits whole images")


class ImageBody(GenerationBody):
    output_format: Literal["png", "jpeg", "webp"] = "png"


class AudioBody(GenerationBody):
    output_format: Literal["wav"] = "wav"


class VideoBody(GenerationBody):
    output_format: Literal["mp4"] = "mp4"


def _image_source(image: Any) -> Any:
    source = image.get("image_url") if isinstance(image, dict) else image
    source = source.get("url") if isinstance(source, dict) else source
    if not isinstance(source, str | bytes):
        raise ValueError("must be a file in a form, or an object with image_url")
    return source


ImageSource = Annotated[
    Any,
    AfterValidator(_image_source),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "required": ["image_url"]}]}),
]


class EditBody(ImageBody):
    """The body of `/v1/images/edits` as JSON; a form has files named `image` instead of `images`."""

    images: Items[ImageSource] = Field([], json_schema_extra={"minItems": 1})
    image: Annotated[Items[ImageSource], BeforeValidator(one_or_more, json_schema_input_type=ImageSource)] = Field([])


BODIES: dict[str, type[GenerationBody]] = {"image": ImageBody, "audio": AudioBody, "video": VideoBody}


def parse_generation(
    body: GenerationBody, modality: str, server: Server, sizes: Sizes, before: Sequence[dict[str, Any]] = ()
) -> list[ChatRequest]:
    """One chat request for each of the `n` media, with increasing seeds. `before`: parts before the prompt."""
    side = sizes.get(modality)
    if modality != "audio" and body.size not in ("auto", f"{side}x{side}"):
        message = f"this model generates {side}x{side}, not {excerpt(repr(body.size), 30)}: leave size out"
        raise RequestError(message, "size")
    content = [*before, {"type": "text", "text": body.prompt}]
    seed = secrets.randbelow(2**31) if body.seed is None else body.seed
    return [one_medium(body, modality, server, content, seed + n) for n in range(body.n)]


def parse_edit(body: EditBody, server: Server, sizes: Sizes, fetch: Fetch | None) -> list[ChatRequest]:
    """Like `parse_generation`, with the images before the prompt."""
    name, images = ("image", body.image) if body.image else ("images", body.images)
    if not images:
        raise RequestError("an image to edit is missing", "image", "missing_required_parameter")
    if len(images) > server.limits.media:
        raise RequestError(f"more than {server.limits.media} images", name, "too_many")
    if "image" not in server.model.has:
        raise RequestError(f"this model does not support images; it supports {', '.join(server.model.has)}", name)
    parts = [_image(image, f"{name}[{n}]", server.limits, fetch) for n, image in enumerate(images)]
    return parse_generation(body, "image", server, sizes, parts)


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


def _image(image: str | bytes, where: str, limits: Limits, fetch: Fetch | None) -> dict[str, Any]:
    try:
        data = image if isinstance(image, bytes) else read_url(image, "image", limits, fetch)
        return {"type": "image", "value": read_medium("image", data, limits)}
    except MediaRefused as error:
        raise RequestError(str(error), where, "invalid_image") from error


def one_medium(
    body: CommonBody, modality: str, server: Server, content: list[dict[str, Any]], seed: int
) -> ChatRequest:
    """A chat request for exactly one medium."""
    if modality not in server.model.has:
        known = ", ".join(server.model.has)
        raise RequestError(f"this model does not generate {modality}; it supports {known}", "model", "unsupported", 404)
    settings = Settings(modalities=(modality,), required=modality, seed=seed, steps=body.steps, guidance=body.guidance)
    return ChatRequest([{"role": "user", "content": content}], settings)


def generation_json(replies: list[Reply], modality: str, created: int, body: GenerationBody) -> dict[str, Any]:
    """The response with the media, in the format of OpenAI's image generation."""
    media, form = [], body.output_format
    for reply in replies:
        value = next(part["value"] for part in reply.content if part["type"] == modality)
        text = image_as(value, form) if modality == "image" else encoded(modality, value)
        as_url = body.response_format == "url"
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
