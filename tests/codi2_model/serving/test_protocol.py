"""Requests in OpenAI's form become conversations; replies become OpenAI's JSON, in the order they were made."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_model.replies import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.media import Limits, MediaRefused, image_to_url
from codi2_model.serving.protocol import ChatRequest, RequestError, Settings, parse_request
from codi2_model.serving.wire import Finished, Reply, chunks, completion, opening, sse
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
    return parse_request(json.dumps({"model": MODEL, "messages": messages, **fields}).encode(), MODEL, LIMITS)


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
    assert len(audio_from_base64(sound(form=form), name, LIMITS)) == pytest.approx(8_000, abs=1600)


def test_a_picture_and_a_sound_survive_the_way_out_and_back() -> None:
    image = Image.effect_noise((20, 20), 80).convert("RGB")
    assert np.array_equal(np.asarray(image_from_url(image_to_url(image), LIMITS)), np.asarray(image))
    wave = np.sin(np.linspace(0, 60, 4_000)).astype(np.float32)
    assert np.allclose(audio_from_base64(audio_to_base64(wave), "wav", LIMITS), wave, atol=1e-4)


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
        ({"type": "input_audio", "input_audio": {"data": sound(), "format": "midi"}}, "input_audio.data"),
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
        ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
        ({"steps": 1000}, "steps"),
        ({"modalities": ["smell"]}, "modalities[0]"),
        ({"modalities": []}, "modalities"),
        ({"stream": "yes"}, "stream"),
        ({"n": 2}, "n"),
        ({"colour": "red"}, "colour"),
        ({"model": "other"}, "model"),
        ({"session": ""}, "session"),
        ({"views": 1}, "views"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
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


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body, MODEL, LIMITS)
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


def test_a_reply_keeps_the_order_of_its_parts() -> None:
    body = json.loads(json.dumps(completion(reply(), ASKED, HEAD)))
    content = body["choices"][0]["message"]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "audio"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert content[3]["audio"]["format"] == "wav"
    assert body["usage"]["total_tokens"] == 14


def test_a_stream_gives_text_in_deltas_and_each_medium_whole() -> None:
    image = Image.new("RGB", (8, 8), "blue")
    events = [
        TextDelta("Here "), MediumBegun(0, "image"), Progress(0, 1, 2, image), MediumDone(0, "image", image),
        TextDelta("it is"), Finished(5, 9),
    ]  # fmt: skip
    made = [opening(HEAD), *(chunk for event in events for chunk in chunks(event, ASKED, HEAD))]
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in made if chunk["choices"]]
    assert "".join(piece for piece in deltas if isinstance(piece, str)) == "Here it is"
    assert [piece[0]["type"] for piece in deltas if isinstance(piece, list)] == ["image_url"]
    assert [chunk["codi2"]["event"] for chunk in made if "codi2" in chunk] == [
        "medium_begun",
        "progress",
        "medium_done",
    ]
    assert made[3]["codi2"]["preview"]["type"] == "image_url"
    assert made[-1]["usage"]["total_tokens"] == 14 and made[-2]["choices"][0]["finish_reason"] == "stop"
    assert sse(None) == "data: [DONE]\n\n"


def test_a_reply_can_be_sent_back_as_history() -> None:
    sent = completion(reply(), ASKED, HEAD)["choices"][0]["message"]
    request = parse([{"role": "user", "content": "draw"}, sent, {"role": "user", "content": "again"}])
    assert [part["type"] for part in request.messages[1]["content"]] == ["text", "image", "text", "audio"]


def test_what_openai_clients_send_without_meaning_it_is_accepted() -> None:
    neutral = {"frequency_penalty": 0, "tools": None, "response_format": {"type": "text"}, "service_tier": "auto"}
    assert parse([{"role": "user", "content": "x"}], **neutral).settings.seed == 0
