"""Reads the messages of a request: interleaved text, images, audio and video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codi2_datasets.formats.hashing import digest
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
from codi2_model.serving.openai.assistant_turns import Earlier, assistant_content
from codi2_model.serving.openai.fields import RequestError, excerpt, string

Fetch = Callable[[str, str, Limits], bytes]
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
TOOL_ROLES = ("tool", "function")
URL_PARTS = {"image_url": "image", "video_url": "video", "audio_url": "audio"}
# "audio" is the part type in replies, which clients send back as history
DATA_PARTS = ("input_audio", "audio")
PARTS = ("text", "image_url", "input_audio", "audio_url", "video_url", "file")


def read_messages(
    messages: Any, limits: Limits, has: tuple[str, ...], fetch: Fetch | None, earlier: Earlier | None = None
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The messages with decoded media, and a hash of each.

    All messages, and the number of media, are checked before the first medium is decoded. `has`: modalities of the model.
    """
    if not isinstance(messages, list) or not messages:
        raise RequestError("must be a list of at least one message", "messages", "missing_required_parameter")
    if len(messages) > limits.messages:
        raise RequestError(f"more than {limits.messages} messages", "messages", "too_many")
    checked = [_message(message, f"messages[{n}]", earlier) for n, message in enumerate(messages)]
    if checked[-1]["role"] == "assistant":
        raise RequestError("the last message must not be of the assistant", f"messages[{len(checked) - 1}].role")
    _check_counts(checked, limits)
    read = [
        {
            "role": message["role"],
            "content": [
                _part(part, f"messages[{n}].content[{k}]", limits, has, fetch)
                for k, part in enumerate(message["content"])
            ],
        }
        for n, message in enumerate(checked)
    ]
    return read, tuple(mark(message["role"], message["content"]) for message in checked)


def _message(message: Any, where: str, earlier: Earlier | None) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise RequestError("must be an object with role and content", where)
    role = message.get("role")
    if isinstance(role, str) and role in TOOL_ROLES:
        message = f"{role}: this model does not call tools: leave out messages of tools"
        raise RequestError(message, f"{where}.role")
    if not isinstance(role, str) or role not in ROLES:
        raise RequestError(f"{excerpt(repr(role), 40)} is not one of {', '.join(ROLES)}", f"{where}.role")
    content = message.get("content")
    if role == "assistant":
        content = assistant_content(message, where, earlier)
    elif isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or (not content and role != "assistant"):
        raise RequestError("must be a string or a list of parts", f"{where}.content")
    for k, part in enumerate(content):
        if not isinstance(part, dict):
            raise RequestError("must be an object with a type", f"{where}.content[{k}]")
    return {"role": ROLES[role], "content": [_plain(part) for part in content]}


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """The part, a refusal as a text part."""
    return {"type": "text", "text": part.get("refusal")} if part.get("type") == "refusal" else part


def _check_counts(messages: list[dict[str, Any]], limits: Limits) -> None:
    media = characters = 0
    for n, message in enumerate(messages):
        for k, part in enumerate(message["content"]):
            field = f"messages[{n}].content[{k}]"
            media += part.get("type") != "text"
            if media > limits.media:
                raise RequestError(f"more than {limits.media} media", field, "too_many")
            if isinstance(part.get("text"), str):
                characters += len(part["text"])
            if characters > limits.text_characters:
                raise RequestError(f"more than {limits.text_characters:,} characters of text", field, "too_long")


def _part(part: Mapping[str, Any], field: str, limits: Limits, has: tuple[str, ...], fetch: Fetch | None) -> dict:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": string(part.get("text"), f"{field}.text")}
    if isinstance(kind, str) and kind in URL_PARTS:
        modality, where = URL_PARTS[kind], f"{field}.{kind}.url"
        _check_known(modality, has, f"{field}.type")
        url = part[kind] if isinstance(part.get(kind), str) else _inner(part, kind, field).get("url")
        if not isinstance(url, str):
            raise RequestError("must be a string with a data: URL", where)
        return _medium(modality, where, lambda: read_url(url, modality, limits, fetch), limits)
    if isinstance(kind, str) and kind in DATA_PARTS:
        _check_known("audio", has, f"{field}.type")
        data, where = _inner(part, kind, field).get("data"), f"{field}.{kind}.data"
        if not isinstance(data, str):
            raise RequestError("must be a string", where)
        return _medium("audio", where, lambda: read_data(data, limits), limits)
    if kind == "file":
        return _file(_inner(part, kind, field), f"{field}.file", limits, has)
    raise RequestError(f"unknown part type {excerpt(repr(kind), 40)}; known: {', '.join(PARTS)}", f"{field}.type")


def _file(inner: Mapping[str, Any], where: str, limits: Limits, has: tuple[str, ...]) -> dict[str, Any]:
    """A file of the request as a medium. Its modality is detected from the bytes."""
    if inner.get("file_id") is not None:
        raise RequestError("files are not stored: send the file as file_data", f"{where}.file_id")
    if not isinstance(inner.get("file_data"), str):
        raise RequestError("must be a string", f"{where}.file_data")
    try:
        data = read_data(inner["file_data"], limits)
    except MediaRefused as error:
        raise RequestError(str(error), f"{where}.file_data", "invalid_file") from error
    modality = kind_of(data)
    if modality is None:
        message = f"not an image, audio or video file ({media_type_of(data) or 'unknown type'})"
        raise RequestError(message, f"{where}.file_data", "invalid_file")
    _check_known(modality, has, f"{where}.file_data")
    return _medium(modality, f"{where}.file_data", lambda: data, limits)


def _medium(modality: str, where: str, data: Callable[[], bytes], limits: Limits) -> dict[str, Any]:
    try:
        return {"type": modality, "value": read_medium(modality, data(), limits)}
    except MediaRefused as error:
        raise RequestError(str(error), where, f"invalid_{modality}") from error


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


def _check_known(modality: str, has: tuple[str, ...], field: str) -> None:
    if modality not in has:
        raise RequestError(f"this model does not support {modality}; it supports text, {', '.join(has)}", field)


def _inner(part: Mapping[str, Any], name: str, field: str) -> Mapping[str, Any]:
    inner = part.get(name)
    if not isinstance(inner, dict):
        raise RequestError("must be an object", f"{field}.{name}")
    return inner


def mark(role: str, content: Sequence[Mapping[str, Any]]) -> str:
    """A hash of a message: its role, its text, and its media as they were sent, but not the form of its parts."""
    values: list[Any] = []
    for part in content:
        kind = part.get("type")
        if kind != "text":
            inner = part.get(str(kind))
            values.append(
                [kind, [inner.get(name) for name in ("url", "data", "file_data")] if isinstance(inner, dict) else inner]
            )
        elif values and isinstance(values[-1], str):
            values[-1] += str(part.get("text"))
        elif part.get("text"):
            values.append(str(part["text"]))
    return digest([role, values])
