"""The conversation of a request: messages whose parts are text, pictures, sounds and clips, in true order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from codi2_datasets.identity import digest
from codi2_model.serving.media import Limits, MediaRefused, bytes_of_url, decode_base64, read_medium
from codi2_model.serving.protocol import RequestError, shown

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
URL_PARTS = {"image_url": "image", "video_url": "video", "audio_url": "audio"}
# "audio" is how replies hold sounds: so they can be sent back as history
DATA_PARTS = ("input_audio", "audio")
PARTS = ("text", "image_url", "input_audio", "video_url")
Fetch = Callable[[str, str, Limits], bytes]


def parse_messages(messages: Any, limits: Limits, has: tuple[str, ...], fetch: Fetch | None) -> list[dict[str, Any]]:
    """Messages with values. The whole is checked, counts too, before the first medium is decoded."""
    if not isinstance(messages, list) or not messages:
        raise RequestError("must be a list of at least one message", "messages", "missing_required_parameter")
    if len(messages) > limits.messages:
        raise RequestError(f"more than {limits.messages} messages", "messages", "too_many")
    checked = [_message(message, f"messages[{n}]") for n, message in enumerate(messages)]
    if checked[-1]["role"] == "assistant":
        raise RequestError("the last message must not be the assistant's", f"messages[{len(checked) - 1}].role")
    _check_counts(checked, limits)
    return [
        {
            "role": message["role"],
            "content": [
                _part(part, f"messages[{n}].content[{k}]", limits, has, fetch)
                for k, part in enumerate(message["content"])
            ],
        }
        for n, message in enumerate(checked)
    ]


def _message(message: Any, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise RequestError("must be an object with role and content", where)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise RequestError(f"must be one of {', '.join(ROLES)}", f"{where}.role")
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise RequestError("must be a text or a list of parts", f"{where}.content")
    for k, part in enumerate(content):
        if not isinstance(part, dict):
            raise RequestError("must be an object with a type", f"{where}.content[{k}]")
    return {"role": ROLES[role], "content": content}


def _check_counts(messages: list[dict[str, Any]], limits: Limits) -> None:
    media = characters = 0
    for n, message in enumerate(messages):
        for k, part in enumerate(message["content"]):
            field = f"messages[{n}].content[{k}]"
            media += part.get("type") != "text"
            if media > limits.media:
                raise RequestError(f"more than {limits.media} pictures, sounds and clips", field, "too_many")
            if isinstance(part.get("text"), str):
                characters += len(part["text"])
            if characters > limits.text_characters:
                raise RequestError(f"more than {limits.text_characters:,} characters of text", field, "too_long")


def _part(part: Mapping[str, Any], field: str, limits: Limits, has: tuple[str, ...], fetch: Fetch | None) -> dict:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": _text(part.get("text"), f"{field}.text")}
    if isinstance(kind, str) and kind in URL_PARTS:
        modality, where = URL_PARTS[kind], f"{field}.{kind}.url"
        _check_known(modality, has, f"{field}.type")
        url = _inner(part, kind, field).get("url")
        if not isinstance(url, str):
            raise RequestError("must be a data: URL", where)
        return _medium(modality, where, lambda: read_url(url, modality, limits, fetch), limits, None)
    if isinstance(kind, str) and kind in DATA_PARTS:
        _check_known("audio", has, f"{field}.type")
        inner = _inner(part, kind, field)
        for name in ("data", "format"):
            if not isinstance(inner.get(name), str):
                raise RequestError("must be a text", f"{field}.{kind}.{name}")
        where = f"{field}.{kind}.data"
        return _medium("audio", where, lambda: decode_base64(inner["data"], limits), limits, inner["format"].lower())
    raise RequestError(f"unknown part type {shown(repr(kind), 40)}; known: {', '.join(PARTS)}", f"{field}.type")


def _medium(modality: str, where: str, data: Callable[[], bytes], limits: Limits, form: str | None) -> dict[str, Any]:
    try:
        return {"type": modality, "value": read_medium(modality, data(), limits, form)}
    except MediaRefused as error:
        raise RequestError(str(error), where, f"invalid_{modality}") from error


def read_url(url: str, modality: str, limits: Limits, fetch: Fetch | None) -> bytes:
    """The bytes at a `data:` URL, or at a remote one where the server fetches any."""
    if url[:5].lower() == "data:":
        return bytes_of_url("data:" + url[5:], modality, limits)
    if fetch is None:
        raise MediaRefused(f"remote addresses are not fetched: send it as a data: URL (data:{modality}/...;base64,...)")
    return fetch(url, modality, limits)


def _text(text: Any, field: str) -> str:
    if not isinstance(text, str):
        raise RequestError("must be a text", field)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError("holds half a character (a lone surrogate)", field) from None
    return text


def _check_known(modality: str, has: tuple[str, ...], field: str) -> None:
    if modality not in has:
        raise RequestError(f"this model knows no {modality}: it has text, {', '.join(has)}", field)


def _inner(part: Mapping[str, Any], name: str, field: str) -> Mapping[str, Any]:
    inner = part.get(name)
    if not isinstance(inner, dict):
        raise RequestError("must be an object", f"{field}.{name}")
    return inner


def marks_of(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    """What each message says, as a hash of its JSON; a plain text counts as the one part that it stands for."""
    return tuple(mark(ROLES[message["role"]], message["content"]) for message in messages)


def mark(role: str, content: Any) -> str:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return digest([role, parts])
