"""Converts an assistant message that a client sends back to a list of content parts.

A reply has its text in `content`, its media in `images`, `audio`, `audios` and `videos`, and their order in `parts`
(`chat_response.py`). Clients send back all of these, only the text, the id of the audio, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from codi2_model.serving.openai.fields import RequestError, excerpt, listed, mapping

Parts = list[dict[str, Any]]
Earlier = Callable[[str], Parts | None]
"""The stored parts of a reply by the id of its audio; None if the server no longer has it."""


def assistant_content(message: Mapping[str, Any], where: str, earlier: Earlier | None) -> Any:
    """The parts of the message, [] if it is empty. Content that is neither a string nor null is returned unchanged.

    `where`: name of the message in errors. `earlier`: returns the stored parts of a reply by the id of its audio.
    """
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            text = "this model does not call tools: leave out messages with tool calls"
            raise RequestError(text, f"{where}.{name}", "unsupported")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        return content
    media = _media(message, where)
    if not any(media.values()):
        parts = _by_id(message, earlier)
        if parts is not None:
            return parts
    text = content or _refusal(message, where)
    return _in_order(message.get("parts"), text, media, where)


def _refusal(message: Mapping[str, Any], where: str) -> str:
    refusal = message.get("refusal")
    if not isinstance(refusal, str | None):
        raise RequestError("must be a string or null", f"{where}.refusal")
    return refusal or ""


def _by_id(message: Mapping[str, Any], earlier: Earlier | None) -> Parts | None:
    """The stored reply with the audio of this id, if the server still has it."""
    audio = message.get("audio")
    identity = audio.get("id") if isinstance(audio, dict) else None
    return earlier(identity) if earlier is not None and isinstance(identity, str) else None


def _media(message: Mapping[str, Any], where: str) -> dict[str, Parts]:
    """The media of the message as content parts, by modality."""
    audio = mapping(message, "audio", f"{where}.audio")
    first = [audio] if audio.get("data") is not None else []
    images, audios, videos = (listed(message, name, f"{where}.{name}") for name in ("images", "audios", "videos"))
    return {
        "image": [_url_part("image_url", part, f"{where}.images") for part in images],
        "audio": [_audio_part(part, f"{where}.audio") for part in [*first, *audios]],
        "video": [_url_part("video_url", part, f"{where}.videos") for part in videos],
    }


def _url_part(kind: str, part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict) or part.get("type") != kind:
        raise RequestError(f"must contain parts of type {kind}", where)
    return {"type": kind, kind: part.get(kind)}


def _audio_part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise RequestError("must contain objects with data", where)
    return {"type": "audio", "audio": {"data": part.get("data"), "format": part.get("format")}}


def _in_order(order: Any, text: str, media: dict[str, Parts], where: str) -> Parts:
    """Text and media in the order of `parts`. Without it, or if its text differs (was edited), the text comes first."""
    text_parts = [{"type": "text", "text": text}] if text else []
    default = [*text_parts, *media["image"], *media["audio"], *media["video"]]
    if not isinstance(order, list) or not all(isinstance(entry, dict) for entry in order):
        return default
    if "".join(str(entry.get("text", "")) for entry in order if entry.get("type") == "text") != text:
        return default
    return [_part_of_entry(entry, media, f"{where}.parts[{n}]") for n, entry in enumerate(order)]


def _part_of_entry(entry: Mapping[str, Any], media: dict[str, Parts], where: str) -> dict[str, Any]:
    kind, index = entry.get("type"), entry.get("index")
    if kind == "text":
        return {"type": "text", "text": entry.get("text")}
    parts = media.get(kind, []) if isinstance(kind, str) else []
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(parts):
        raise RequestError(f"the message has no such medium: {excerpt(repr(dict(entry)), 60)}", where)
    return parts[index]
