"""Reads the messages of a request: interleaved text, images, audio and video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_model.serving.http.media import (
    Limits,
    MediaRefused,
    bytes_of_url,
    decode_base64,
    is_data_url,
    kind_of,
    read_medium,
)
from codi2_model.serving.openai.content_models import Part, text_of
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.validation import Server

Fetch = Callable[[str, str, Limits], bytes]
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass
class Turn:
    """A message to decode. `where`: its field in the request, for errors; `places`: the fields of its parts."""

    role: str
    content: Sequence[Part]
    where: str
    places: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = self.places or [f"{self.where}.content[{k}]" for k in range(len(self.content))]


def read_turns(turns: Sequence[Turn], server: Server, fetch: Fetch | None) -> list[dict[str, Any]]:
    """The messages with decoded media. Their number is checked before the first medium is decoded."""
    if len(turns) > server.limits.messages:
        message = f"more than {server.limits.messages} messages"
        raise RequestError(message, turns[-1].where.partition("[")[0], "too_many")
    if turns[-1].role == "assistant":
        raise RequestError("the last message must not be of the assistant", f"{turns[-1].where}.role")
    _check_counts(turns, server.limits)
    return [
        {
            "role": ROLES[turn.role],
            "content": [_read(*pair, server, fetch) for pair in zip(turn.content, turn.places, strict=True)],
        }
        for turn in turns
    ]


def _check_counts(turns: Sequence[Turn], limits: Limits) -> None:
    media = characters = 0
    for turn in turns:
        for part, place in zip(turn.content, turn.places, strict=True):
            characters += len(text_of([part]))
            media += part.modality != "text"
            if media > limits.media:
                raise RequestError(f"more than {limits.media} media", place, "too_many")
            if characters > limits.text_characters:
                raise RequestError(f"more than {limits.text_characters:,} characters of text", place, "too_long")


def _read(part: Part, place: str, server: Server, fetch: Fetch | None) -> dict[str, Any]:
    """A part with its decoded medium."""
    (name, value), modality, limits = part.source(), part.modality, server.limits
    if modality == "text":
        return {"type": "text", "text": value}
    try:
        data = None if modality else read_data(value, limits)
        modality = modality or kind_of(data or b"")
        if modality is None:
            raise MediaRefused(f"not an image, audio or video file ({media_type_of(data or b'') or 'unknown type'})")
        if modality not in server.model.has:
            message = f"this model does not support {modality}; it supports text, {', '.join(server.model.has)}"
            raise RequestError(message, f"{place}.type")
        if data is None:
            is_url = part.field.endswith("_url")
            data = read_url(value, modality, limits, fetch) if is_url else read_data(value, limits)
        return {"type": modality, "value": read_medium(modality, data, limits)}
    except MediaRefused as error:
        where = place if place.endswith(".result") else f"{place}.{name}"
        raise RequestError(str(error), where, f"invalid_{modality or 'file'}") from error


def read_data(text: str, limits: Limits) -> bytes:
    """The bytes of a base64 string or a data URL."""
    return bytes_of_url(text, "audio", limits) if is_data_url(text) else decode_base64(text, limits)


def read_url(url: str, modality: str, limits: Limits, fetch: Fetch | None) -> bytes:
    """The bytes at a `data:` URL, or at a remote URL if the server fetches them."""
    if is_data_url(url):
        return bytes_of_url(url, modality, limits)
    if fetch is None:
        raise MediaRefused(f"this server does not fetch remote URLs: send a data: URL (data:{modality}/...;base64,...)")
    return fetch(url, modality, limits)
