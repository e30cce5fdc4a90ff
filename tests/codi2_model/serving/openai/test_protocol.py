"""Requests in OpenAI's form become conversations; replies become OpenAI's JSON, in the order they were made."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from codi2_model.generation.events import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.http.media import Limits, MediaRefused, image_to_url
from codi2_model.serving.openai.chat_response import ChunkWriter, Finished, Reply, completion, sse
from codi2_model.serving.openai.protocol import ChatRequest, ModelCard, RequestError, Settings, parse_request
from codi2_model.serving.openai.response_store import ResponseStore
from codi2_model.serving.openai.stop_sequences import StopFilter
from tests.codi2_model.serving.wire_media import audio_from_base64, audio_to_base64, image_from_url

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


def test_a_plain_string_and_a_list_of_parts_say_the_same() -> None:
    assert (
        parse([{"role": "user", "content": "hello"}]).messages
        == parse(user({"type": "text", "text": "hello"})).messages
    )


def test_interleaved_parts_keep_their_order_and_carry_values() -> None:
    request = parse(
        user(
            {"type": "text", "text": "Turn "},
            {"type": "image_url", "image_url": {"url": picture()}},
            {"type": "text", "text": " into this: "},
            {"type": "input_audio", "input_audio": {"data": sound(), "format": "wav"}},
        )
    )
    parts = request.messages[0]["content"]
    assert [part["type"] for part in parts] == ["text", "image", "text", "audio"]
    assert parts[1]["value"].size == (24, 16) and parts[1]["value"].mode == "RGB"
    wave = parts[3]["value"]
    assert wave.dtype == np.float32 and wave.shape == (8_000,)  # half a second, brought to 16 kHz
    peak = np.abs(np.fft.rfft(wave)).argmax() * 16_000 / len(wave)
    assert abs(peak - 440) < 4


def test_transparent_pictures_are_laid_over_white() -> None:
    image = image_from_url(picture(colour="#00000000", mode="RGBA"), LIMITS)
    assert image.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_common_picture_formats_are_read(form: str) -> None:
    assert image_from_url(picture(form=form), LIMITS).size == (24, 16)


@pytest.mark.parametrize(("form", "name"), [("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg"), ("MP3", "mp3")])
def test_common_sound_formats_are_read(form: str, name: str) -> None:
    assert len(audio_from_base64(sound(form=form), LIMITS)) == pytest.approx(8_000, abs=1600)


def test_a_picture_and_a_sound_survive_the_way_out_and_back() -> None:
    image = Image.effect_noise((20, 20), 80).convert("RGB")
    assert np.array_equal(np.asarray(image_from_url(image_to_url(image), LIMITS)), np.asarray(image))
    wave = np.sin(np.linspace(0, 60, 4_000)).astype(np.float32)
    assert np.allclose(audio_from_base64(audio_to_base64(wave), LIMITS), wave, atol=1e-4)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x.png", "https://example.org/x.png", "file:///etc/passwd", "/etc/passwd"]
)
def test_remote_and_local_addresses_are_refused_and_the_remedy_is_named(url: str) -> None:
    error = refusal(user({"type": "image_url", "image_url": {"url": url}}))
    assert error.param == "messages[0].content[0].image_url.url" and error.status == 400
    assert "data:" in str(error) and "passwd" not in str(error)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {}}, "image_url.url"),
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": {"url": picture((300, 300))}}, "image_url.url"),  # too many pixels
        ({"type": "input_audio", "input_audio": {"data": sound(4.0), "format": "wav"}}, "input_audio.data"),  # too long
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "A" * 300_000, "format": "wav"}}, "input_audio.data"),
        ({"type": "video_url", "video_url": {"url": "x"}}, "video_url.url"),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}, "video_url.url"),
        ({"type": "text", "text": "\ud800"}, "text"),
        ({"type": "smell"}, "type"),
        ({"type": "text"}, "text"),
        ({"type": ["text"]}, "type"),
    ],
)
def test_a_part_at_fault_is_named(part: dict[str, Any], param: str) -> None:
    error = refusal(user({"type": "text", "text": "x"}, part))
    assert error.param == f"messages[0].content[1].{param}"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 10**400}, "seed"),
        ({"seed": True}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"steps": 1000}, "steps"),
        ({"modalities": ["smell"]}, "modalities[0]"),
        ({"modalities": []}, "modalities"),
        ({"stream": "yes"}, "stream"),
        ({"n": 2}, "n"),
        ({"colour": "red"}, "colour"),
        ({"model": "other"}, "model"),
        ({"session": ""}, "session"),
        ({"views": 1}, "views"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
    ],
)
def test_a_setting_at_fault_is_named(fields: dict[str, Any], param: str) -> None:
    assert refusal(user({"type": "text", "text": "x"}), **fields).param == param


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        (["hello"], "messages[0]"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "messages[1].role"),
        ([{"role": "user", "content": "x"}] * 6, "messages"),
        ([{"role": "user", "content": "x" * 201}], "messages[0].content[0]"),
        (user(*[{"type": "image_url", "image_url": {"url": picture()}}] * 5), "messages[0].content[4]"),
    ],
)
def test_a_message_at_fault_is_named(messages: Any, param: str) -> None:
    assert refusal(messages).param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"a":' + b"[" * 70 + b"]" * 70 + b"}"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body, ModelCard(MODEL), LIMITS)
    assert caught.value.code == "invalid_json"


def test_a_medium_is_refused_by_its_length_before_it_is_decoded() -> None:
    with pytest.raises(MediaRefused, match="larger than"):
        image_from_url("data:image/png;base64," + "!" * 300_000, LIMITS)  # not even base64


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
        ({"content": "", "images": [5]}, "images"),
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


def test_what_openai_clients_send_without_meaning_it_is_accepted() -> None:
    neutral = {"logprobs": False, "tools": None, "response_format": {"type": "text"}, "service_tier": "auto", "n": 1}
    neutral |= {
        "top_p": 0,
        "store": True,
        "metadata": {"a": "b"},
        "views": True,
        "audio": {"voice": "alloy", "format": "mp3"},
    }
    request = parse([{"role": "user", "content": "x"}], **neutral)
    assert request.settings.seed == 0 and request.audio_format == "mp3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2), ("logprobs", True), ("top_logprobs", 3), ("logit_bias", {"5": 1}), ("tools", [{"type": "function"}]),
        ("tool_choice", "required"), ("response_format", {"type": "json_object"}), ("reasoning_effort", "low"),
        ("verbosity", "high"), ("web_search_options", {}), ("service_tier", "flex"), ("top_k", 40), ("colour", "red"),
        ("temperature", 5), ("presence_penalty", 3), ("stop", ["a"] * 5), ("stop", 5), ("content_format", "html"),
        ("size", "64x64"), ("functions", [{}]),
    ],
)  # fmt: skip
def test_what_cannot_be_honored_is_refused_by_name_in_the_message_too(name: str, value: Any) -> None:
    error = refusal([{"role": "user", "content": "x"}], **{name: value}).to_json()["error"]
    assert error["param"] == name and error["message"].startswith(f"{name}: ")


def test_a_limit_above_the_server_s_is_cut_and_the_newer_name_counts() -> None:
    said = [{"role": "user", "content": "x"}]
    assert parse(said, max_tokens=100_000).settings.max_tokens == LIMITS.new_tokens
    assert parse(said, max_tokens=9, max_completion_tokens=2**40).settings.max_tokens == LIMITS.new_tokens
    assert parse(said, max_tokens=9.0, max_completion_tokens=None, whatever=None).settings.max_tokens == 9


def test_stop_is_a_string_or_a_list_and_empty_ones_stop_nothing() -> None:
    said = [{"role": "user", "content": "x"}]
    asked = {json.dumps(stop): parse(said, stop=stop).settings.stop for stop in ("a", ["a", "b"], "", [], [""], None)}
    assert list(asked.values()) == [("a",), ("a", "b"), (), (), (), ()]


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_text_is_cut_before_the_first_stop_sequence_however_it_comes(pieces: list[str], stops: list[str]) -> None:
    cutter = StopFilter(stops)
    told = "".join(cutter.take(piece) for piece in pieces)
    text, stopped = "".join(pieces), cutter.stopped
    told += cutter.flush()
    assert text.startswith(told) and stopped == any(stop in text for stop in stops)
    if not stopped:
        assert told == text
    else:
        assert not any(stop in told for stop in stops) and any(text[len(told) :].startswith(stop) for stop in stops)


@pytest.mark.parametrize("role", ["tool", "function", "robot"])
def test_roles_that_are_not_answered_are_refused_by_name(role: str) -> None:
    error = refusal([{"role": "user", "content": "x"}, {"role": role, "content": "4", "tool_call_id": "a"}])
    assert error.param == "messages[1].role" and role in str(error)


def test_a_developer_speaks_as_the_system() -> None:
    assert (
        parse([{"role": "developer", "content": "be kind"}, *user({"type": "text", "text": "x"})]).messages[0]["role"]
        == "system"
    )
