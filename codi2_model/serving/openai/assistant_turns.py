"""Converts an assistant message that a client sends back to a list of content parts.

A reply has its text in `content`, its media in `images`, `audio`, `audios` and `videos`, and their order in `parts`
(`chat_response.py`). Clients send back all of these, only the text, the id of the audio, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codi2_model.serving.openai.content_models import DataField, Message, OrderEntry, Part, text_of, text_part
from codi2_model.serving.openai.errors import RequestError

Earlier = Callable[[str], list[dict[str, Any]] | None]
"""The stored parts of a reply by the id of its audio; None if the server no longer has it."""


def assistant_content(message: Message, where: str, earlier: Earlier | None) -> list[Part]:
    """The parts of the message, [] if it is empty.

    `where`: name of the message in errors. `earlier`: returns the stored parts of a reply by the id of its audio.
    """
    audios = [audio for audio in (message.audio, *message.audios) if audio.data]
    media: dict[str, list[Part]] = {
        "image": message.images,
        "audio": [Part(type="audio", audio=DataField(data=audio.data)) for audio in audios],
        "video": message.videos,
    }
    if not any(media.values()) and earlier is not None and (stored := earlier(message.audio.id)):
        return [Part.model_validate(part) for part in stored]
    content = [part for part in message.content if part.text != ""]
    if not content and message.refusal:
        content = [text_part(message.refusal)]
    order = message.parts
    # if its text differs, the message was edited
    if not order or "".join(entry.text for entry in order if entry.type == "text") != text_of(content):
        return [*content, *media["image"], *media["audio"], *media["video"]]
    return [_part_of_entry(entry, media, f"{where}.parts[{n}]") for n, entry in enumerate(order)]


def _part_of_entry(entry: OrderEntry, media: dict[str, list[Part]], where: str) -> Part:
    if entry.type == "text":
        return text_part(entry.text)
    if entry.index >= len(media[entry.type]):
        raise RequestError(f"the message has no such medium: {entry.type} {entry.index}", where)
    return media[entry.type][entry.index]
