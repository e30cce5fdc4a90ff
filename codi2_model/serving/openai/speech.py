"""`/v1/audio/speech`: generates an audio file from a text.

The model generates the sound that the text describes. It does not read the text aloud.
"""

from __future__ import annotations

import base64
from typing import Any, Literal

from codi2_model.serving.openai import audio_output
from codi2_model.serving.openai.chat_response import Reply, sse
from codi2_model.serving.openai.generations import one_medium
from codi2_model.serving.openai.protocol import ChatRequest
from codi2_model.serving.openai.request_models import AudioFormat, CommonBody, Prompt
from codi2_model.serving.openai.validation import Server, only


class SpeechBody(CommonBody):
    """The body of `/v1/audio/speech`."""

    input: Prompt
    response_format: AudioFormat = "mp3"
    stream_format: Literal["audio", "sse"] = "audio"
    voice: Any = None
    speed: Any = only(1)
    instructions: Any = only(
        "", why="this model generates the sound that the input describes and does not read it aloud"
    )


def speech_request(body: SpeechBody, server: Server) -> ChatRequest:
    """The chat request for the audio."""
    return one_medium(body, "audio", server, [{"type": "text", "text": body.input}], body.seed)


def speech_file(reply: Reply, request: SpeechBody) -> tuple[bytes, str]:
    """The body of the response and its media type."""
    value = next(part["value"] for part in reply.content if part["type"] == "audio")
    data = audio_output.encode_audio(value, request.response_format)
    if request.stream_format != "sse":
        return data, audio_output.media_type(request.response_format)
    usage = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.completion_tokens}
    usage["total_tokens"] = sum(usage.values())
    events: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()},
        {"type": "speech.audio.done", "usage": usage},
    ]
    return "".join(sse(event) for event in events).encode(), "text/event-stream"
