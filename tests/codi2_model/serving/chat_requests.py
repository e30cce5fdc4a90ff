"""Chat requests and a reply for tests of the API."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_model.serving.http.media import Limits
from codi2_model.serving.openai.chat_response import Reply
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest, Settings, parse_request
from codi2_model.serving.openai.validation import ModelCard

LIMITS = Limits(
    medium_bytes=200_000, image_pixels=256 * 256, audio_seconds=3.0, media=4, messages=5, text_characters=200
)
MODEL = "codi2-tiny"


def picture(size: tuple[int, int] = (24, 16), colour: str = "red", form: str = "PNG", mode: str = "RGB") -> str:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, format=form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def sound(seconds: float = 0.5, rate: int = 22_050, form: str = "WAV") -> str:
    buffer = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(buffer, wave, rate, format=form)
    return base64.b64encode(buffer.getvalue()).decode()


def parse(messages: Any, **fields: Any) -> Any:
    body = json.dumps({"model": MODEL, "messages": messages, **fields}).encode()
    return parse_request(body, ModelCard(MODEL), LIMITS)


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def refusal(messages: Any, **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(messages, **fields)
    return caught.value


def reply() -> Reply:
    content = [
        {"type": "text", "text": "Here it is: "},
        {"type": "image", "value": Image.new("RGB", (8, 8), "blue")},
        {"type": "text", "text": "and its sound"},
        {"type": "audio", "value": np.zeros(1600, np.float32)},
    ]
    return Reply(content, prompt_tokens=5, completion_tokens=9)


HEAD = {"id": "chatcmpl-1", "created": 0, "model": MODEL}
ASKED = ChatRequest([], Settings(), include_usage=True)
