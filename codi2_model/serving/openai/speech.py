"""`/v1/audio/speech`: generates an audio file from a text.

The model generates the sound that the text describes. It does not read the text aloud.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai import audio_output, unsupported
from codi2_model.serving.openai.chat_response import Reply, sse
from codi2_model.serving.openai.fields import choice, number
from codi2_model.serving.openai.generations import one_medium, prompt_of
from codi2_model.serving.openai.protocol import ChatRequest, ModelCard, audio_format, check_model, known_fields

FIELDS = ("model", "input", "response_format", "stream_format", "seed", "steps", "guidance", "user")


@dataclass(frozen=True)
class SpeechRequest:
    """A validated request."""

    chat: ChatRequest
    form: str
    """Format of the audio: a key of `audio_output.FORMATS`."""
    as_events: bool
    """Whether the audio is sent as server-sent events."""


def parse_speech(data: Mapping[str, Any], model: ModelCard, limits: Limits) -> SpeechRequest:
    """Parse a JSON object. Raises RequestError with the name of the field at fault."""
    known_fields(data, FIELDS, unsupported.SPEECH)
    check_model(data, model)
    content = [{"type": "text", "text": prompt_of(data, "input", limits)}]
    form = audio_format(data.get("response_format"), "response_format", "mp3")
    as_events = choice(data, "stream_format", ("audio", "sse")) == "sse"
    seed = int(number(data, "seed", 0, 0, 2**63 - 1, whole=True))
    return SpeechRequest(one_medium(data, "audio", model, content, limits, seed), form, as_events)


def speech_file(reply: Reply, request: SpeechRequest) -> tuple[bytes, str]:
    """The body of the response and its media type."""
    value = next(part["value"] for part in reply.content if part["type"] == "audio")
    data = audio_output.encode_audio(value, request.form)
    if not request.as_events:
        return data, audio_output.media_type(request.form)
    usage = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.completion_tokens}
    usage["total_tokens"] = sum(usage.values())
    events: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()},
        {"type": "speech.audio.done", "usage": usage},
    ]
    return "".join(sse(event) for event in events).encode(), "text/event-stream"
