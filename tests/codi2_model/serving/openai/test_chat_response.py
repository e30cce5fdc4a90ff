"""Responses of chat completions: complete, as a list of parts, and as chunks of a stream."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from codi2_model.generation.events import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.openai.chat_response import ChunkWriter, Finished, completion, sse
from codi2_model.serving.openai.protocol import ChatRequest, Settings
from tests.codi2_model.serving.chat_requests import (
    ASKED,
    HEAD,
    reply,
)


def test_content_is_a_string_media_stand_beside_it_and_parts_name_the_order() -> None:
    body = json.loads(json.dumps(completion(reply(), ASKED, HEAD).body))
    message = body["choices"][0]["message"]
    assert message["content"] == "Here it is: and its sound"
    assert message["images"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert message["audio"]["format"] == "wav" and message["audio"]["id"] == "audio-chatcmpl-1"
    assert message["audio"]["expires_at"] > HEAD["created"] and message["audio"]["transcript"] == message["content"]
    assert message["parts"] == [
        {"type": "text", "text": "Here it is: "}, {"type": "image", "index": 0},
        {"type": "text", "text": "and its sound"}, {"type": "audio", "index": 0},
    ]  # fmt: skip
    assert message["videos"] == [] and body["usage"]["total_tokens"] == 14


def test_the_list_has_all_parts_in_their_order() -> None:
    asked = ChatRequest([], Settings(), content_format="list")
    message = completion(reply(), asked, HEAD).body["choices"][0]["message"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "text", "audio"]


def test_a_stream_gives_text_in_deltas_and_each_medium_whole() -> None:
    image = Image.new("RGB", (8, 8), "blue")
    wave = np.zeros(1600, np.float32)
    events: list[Any] = [
        TextDelta("Here "), MediumBegun(0, "image"), Progress(0, 1, 2, image), MediumDone(0, "image", image),
        TextDelta("it is"), MediumDone(1, "audio", wave), MediumDone(2, "audio", wave), MediumDone(3, "image", image),
        Finished(5, 9),
    ]  # fmt: skip
    writer = ChunkWriter(ASKED, HEAD)
    opened = writer.opening()
    made = [chunk for event in events for chunk in writer.chunks(event)]
    deltas = [chunk["choices"][0]["delta"] for chunk in made if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "Here it is"
    assert [image["index"] for delta in deltas for image in delta.get("images", [])] == [0, 1]
    assert [delta["audio"]["id"] for delta in deltas if "audio" in delta] == ["audio-chatcmpl-1"]
    assert [(one["id"], one["index"]) for d in deltas for one in d.get("audios", [])] == [("audio-chatcmpl-1-1", 1)]
    assert list(writer.to_keep()) == ["audio-chatcmpl-1", "audio-chatcmpl-1-1"]
    assert [chunk["codi2"]["event"] for chunk in made if "codi2" in chunk][:3] == [
        "medium_begun",
        "progress",
        "medium_done",
    ]
    assert made[2]["codi2"]["preview"]["type"] == "image_url"
    assert made[-1]["usage"]["total_tokens"] == 14 and made[-2]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["usage"] is None for chunk in made[:-1]) and len(opened) == 1
    assert sse(None) == "data: [DONE]\n\n"


@given(st.text())
def test_an_event_is_one_line_for_every_splitter_of_lines(said: str) -> None:
    said += "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n\ud800"
    line = sse({"text": said})
    assert line.isascii() and line.splitlines() == [line[:-2], ""]
    assert json.loads(line.removeprefix("data: ")) == {"text": said}
