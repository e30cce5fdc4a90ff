"""An assistant's turn as clients send it back -> one list of content parts, whatever form the reply was read in.

A reply has its text in `content`, its media in `images`, `audio`, `audios` and `videos`, and their order in `parts`
(`wire.py`). Clients send all of that back, or the text alone, or the id of its audio, or nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codi2_model.serving.openai.protocol import Earlier, RequestError, listed, mapping, shown

Parts = list[dict[str, Any]]


def assistant_content(message: Mapping[str, Any], where: str, earlier: Earlier | None) -> Any:
    """The turn's parts; [] for a turn that holds nothing. What is neither a string nor a list is given back as it is."""
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            raise RequestError("this model calls no tools: leave such turns out", f"{where}.{name}", "unsupported")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        return content
    media = _media(message, where)
    if not any(media.values()):
        found = _by_id(message, earlier)
        if found is not None:
            return found
    text = content or _refusal(message, where)
    return _in_order(message.get("parts"), text, media, where)


def _refusal(message: Mapping[str, Any], where: str) -> str:
    refusal = message.get("refusal")
    if not isinstance(refusal, str | None):
        raise RequestError("must be a string or null", f"{where}.refusal")
    return refusal or ""


def _by_id(message: Mapping[str, Any], earlier: Earlier | None) -> Parts | None:
    """The whole reply that audio of this id came with, while the server still has it."""
    audio = message.get("audio")
    identity = audio.get("id") if isinstance(audio, dict) else None
    return earlier(identity) if earlier is not None and isinstance(identity, str) else None


def _media(message: Mapping[str, Any], where: str) -> dict[str, Parts]:
    """The turn's media as content parts, by kind."""
    audio = mapping(message, "audio", f"{where}.audio")
    first = [audio] if audio.get("data") is not None else []
    images, audios, videos = (listed(message, name, f"{where}.{name}") for name in ("images", "audios", "videos"))
    return {
        "image": [_url_part("image_url", one, f"{where}.images") for one in images],
        "audio": [_audio_part(one, f"{where}.audio") for one in [*first, *audios]],
        "video": [_url_part("video_url", one, f"{where}.videos") for one in videos],
    }


def _url_part(kind: str, part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict) or part.get("type") != kind:
        raise RequestError(f"must hold parts of type {kind}", where)
    return {"type": kind, kind: part.get(kind)}


def _audio_part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise RequestError("must hold objects with data", where)
    return {"type": "audio", "audio": {"data": part.get("data"), "format": part.get("format")}}


def _in_order(order: Any, text: str, media: dict[str, Parts], where: str) -> Parts:
    """Text and media as `parts` orders them; where that says another text, or none is there, the text comes first."""
    words = [{"type": "text", "text": text}] if text else []
    rest = [*words, *media["image"], *media["audio"], *media["video"]]
    if not isinstance(order, list) or not all(isinstance(one, dict) for one in order):
        return rest
    if "".join(str(one.get("text", "")) for one in order if one.get("type") == "text") != text:
        return rest  # it was edited
    return [_placed(one, media, f"{where}.parts[{n}]") for n, one in enumerate(order)]


def _placed(one: Mapping[str, Any], media: dict[str, Parts], where: str) -> dict[str, Any]:
    kind, index = one.get("type"), one.get("index")
    if kind == "text":
        return {"type": "text", "text": one.get("text")}
    found = media.get(kind, []) if isinstance(kind, str) else []
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(found):
        raise RequestError(f"names no medium of the message: {shown(repr(dict(one)), 60)}", where)
    return found[index]
