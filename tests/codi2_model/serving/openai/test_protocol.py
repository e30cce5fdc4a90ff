"""Requests of chat completions: conversations, media and settings are parsed, and errors name the field."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codi2_model.serving.http.media import MediaRefused, image_to_url
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import parse_request
from codi2_model.serving.openai.validation import ModelCard
from tests.codi2_model.serving.chat_requests import (
    LIMITS,
    MODEL,
    parse,
    picture,
    refusal,
    sound,
    user,
)
from tests.codi2_model.serving.wire_media import audio_from_base64, audio_to_base64, image_from_url


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


@pytest.mark.parametrize("role", ["tool", "function", "robot"])
def test_roles_that_are_not_answered_are_refused_by_name(role: str) -> None:
    error = refusal([{"role": "user", "content": "x"}, {"role": role, "content": "4", "tool_call_id": "a"}])
    assert error.param == "messages[1].role" and role in str(error)


def test_a_developer_speaks_as_the_system() -> None:
    assert (
        parse([{"role": "developer", "content": "be kind"}, *user({"type": "text", "text": "x"})]).messages[0]["role"]
        == "system"
    )
