"""Assistant messages that clients send back: complete, in part, by the id of the audio, or empty."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codi2_model.serving.openai.chat_response import completion
from codi2_model.serving.openai.protocol import ChatRequest, Settings, parse_request
from codi2_model.serving.openai.response_store import ResponseStore
from codi2_model.serving.openai.validation import ModelCard
from tests.codi2_model.serving.chat_requests import (
    ASKED,
    HEAD,
    LIMITS,
    MODEL,
    parse,
    refusal,
    reply,
    sound,
)


def sent_back(message: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The parts that a message becomes as history."""
    conversation = [{"role": "user", "content": "draw"}, message, {"role": "user", "content": "again"}]
    return parse(conversation, **fields).messages[1]["content"]


def test_a_reply_can_be_sent_back_as_history() -> None:
    message = completion(reply(), ASKED, HEAD).body["choices"][0]["message"]
    found = sent_back(message)
    assert [part["type"] for part in found] == ["text", "image", "text", "audio"] and found[0]["text"] == "Here it is: "
    listed = completion(reply(), ChatRequest([], Settings(), content_format="list"), HEAD).body["choices"][0]["message"]
    assert [part["type"] for part in sent_back(listed)] == ["text", "image", "text", "audio"]
    without_order = {name: value for name, value in message.items() if name != "parts"}
    assert [part["type"] for part in sent_back(without_order)] == ["text", "image", "audio"]
    edited = sent_back({**message, "content": "Another text."})
    assert [part["type"] for part in edited] == ["text", "image", "audio"] and edited[0]["text"] == "Another text."
    assert sent_back({"role": "assistant", "content": message["content"]}) == [
        {"type": "text", "text": message["content"]}
    ]


@pytest.mark.parametrize(
    "turn",
    [
        {"content": None}, {"content": ""}, {}, {"content": []}, {"content": None, "refusal": None, "tool_calls": []},
        {"content": None, "audio": {"id": "audio-chatcmpl-forgotten"}}, {"content": "", "images": [], "audio": None, "parts": []},
    ],
)  # fmt: skip
def test_an_assistant_s_turn_may_hold_nothing(turn: dict[str, Any]) -> None:
    assert sent_back({"role": "assistant", **turn}) == []


def test_a_refusal_counts_as_the_text_that_it_is() -> None:
    for turn in ({"content": None, "refusal": "No."}, {"content": [{"type": "refusal", "refusal": "No."}]}):
        assert sent_back({"role": "assistant", **turn}) == [{"type": "text", "text": "No."}]


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"content": "", "images": "x"}, "images"),
        ({"content": "", "images": [5]}, "images[0]"),
        ({"content": "", "audio": "x"}, "audio"),
        ({"content": "", "parts": [{"type": "image", "index": 0}]}, "parts[0]"),
        ({"content": None, "tool_calls": [{"id": "a"}]}, "tool_calls"),
        ({"content": None, "refusal": 5}, "refusal"),
        ({"content": 5}, "content"),
    ],
)
def test_an_assistant_s_turn_at_fault_is_named(turn: dict[str, Any], param: str) -> None:
    conversation = [{"role": "user", "content": "x"}, {"role": "assistant", **turn}, {"role": "user", "content": "y"}]
    assert refusal(conversation).param == f"messages[1].{param}"


def test_the_id_of_audio_stands_for_the_reply_that_it_came_in_while_that_is_kept() -> None:
    clock = [0.0]
    kept = ResponseStore(seconds=10, characters=100, clock=lambda: clock[0])
    parts = [{"type": "text", "text": "Listen: "}, {"type": "audio", "audio": {"data": sound(), "format": "wav"}}]
    kept.keep("audio-1", parts[:1])
    kept.keep("audio-2", parts)
    assert kept("audio-1") is None and kept("audio-2") is None  # larger than all that is kept
    kept = ResponseStore(seconds=10, clock=lambda: clock[0])
    kept.keep("audio-2", parts)
    conversation = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "audio": {"id": "audio-2"}},
        {"role": "user", "content": "y"},
    ]
    body = json.dumps({"messages": conversation}).encode()
    read = parse_request(body, ModelCard(MODEL), LIMITS, None, kept).messages[1]["content"]
    assert [part["type"] for part in read] == ["text", "audio"]
    clock[0] = 11.0
    assert parse_request(body, ModelCard(MODEL), LIMITS, None, kept).messages[1]["content"] == []
