"""Media as browsers, mail programs and scripts spell them are read; their bytes, not their names, say what they are."""

from __future__ import annotations

import base64
import io
import json
import re
import textwrap
from typing import Any
from urllib.parse import quote, quote_from_bytes

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_model.serving.http.media import Limits, MediaRefused, bytes_of_url, decode_base64, kind_of, read_audio
from codi2_model.serving.openai.audio_output import FORMATS, encode_audio
from codi2_model.serving.openai.protocol import parse_request
from codi2_model.serving.openai.validation import ModelCard
from tests.datasets import media_files as files

LIMITS = Limits(medium_bytes=2_000_000)
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)
HEADS = (
    "data:image/png;base64,", "data:;base64,", "DATA:Image/PNG;BASE64,", "data:image/png;charset=utf-8;base64,",
    "data:application/octet-stream;base64,", 'data:audio/webm;codecs="opus, vorbis";base64,', "data:audio/webm;codecs=opus;base64,",
    "data:image/png;name=a%20b.png;base64,", "data:image/png; base64 ,", "  data:image/png;base64,", "data:null;base64,",
    "data:image/png;base64;charset=utf-8,", "data:image/svg+xml;base64,",
)  # fmt: skip


def read_part(part: dict[str, Any]) -> dict[str, Any]:
    """A part as a model of audio reads it."""
    body = json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode()
    [read] = parse_request(body, ModelCard("m", ("audio",)), LIMITS).messages[0]["content"]
    return read


def spellings(data: bytes) -> list[str]:
    """Base64 in all ways that are met."""
    usual, for_urls = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    lines = textwrap.wrap(usual, 76)
    return [
        usual, for_urls, usual.rstrip("="), for_urls.rstrip("="), "\r\n".join(lines) + "\r\n", "\n".join(lines), " ".join(lines),
        "\n\t".join(lines), quote(usual, safe=""), usual + "\n", re.sub("=", "%3d", usual),
    ]  # fmt: skip


@given(st.binary(min_size=1, max_size=300))
def test_base64_in_every_spelling_is_the_same_bytes(data: bytes) -> None:
    for text in spellings(data):
        assert decode_base64(text, LIMITS) == data
        for head in HEADS:
            assert bytes_of_url(head + text, "image", LIMITS) == data
    assert bytes_of_url("data:image/png," + quote_from_bytes(data, safe=""), "image", LIMITS) == data


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA=A", "AAAA===", "ÄÄÄÄ", "AA!A", "", "=", "\ud800AAA", "%ff%fe%fd%fc"]
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    for function in (
        lambda: decode_base64(text, LIMITS),
        lambda: bytes_of_url(f"data:;base64,{text}", "image", LIMITS),
    ):
        with pytest.raises(MediaRefused):
            function()


@pytest.mark.parametrize(
    "url", ["data:image/png;base64", "data:", "image/png;base64,AAAA", "data:" + ";a=b" * 1000 + ",AAAA"]
)
def test_what_is_no_data_url_is_refused(url: str) -> None:
    with pytest.raises(MediaRefused, match="not a data URL"):
        bytes_of_url(url, "image", LIMITS)


def recorded(codec: str, container: str) -> bytes:
    """Audio as a browser records it: into a stream, whose header knows no length."""
    buffer = io.BytesIO()
    buffer.seekable = lambda: False  # type: ignore[method-assign]
    with av.open(buffer, "w", format=container) as made:
        stream = made.add_stream(codec, rate=48_000, layout="mono")
        stream.codec_context.open()
        size = stream.codec_context.frame_size
        wave = np.interp(np.arange(96_000) / 3, np.arange(32_000), TONE).astype(np.float32)
        for start in range(0, len(wave) - size, size):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + size].copy(), format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48_000, start
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return buffer.getvalue()


def test_what_a_browser_records_is_read_under_any_name() -> None:
    data = recorded("libopus", "webm")
    assert kind_of(data) == "audio" and abs(len(read_audio(data, LIMITS)) - 32_000) < 2_000
    text = base64.b64encode(data).decode()
    for part in (
        {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": text}},
        {
            "type": "input_audio",
            "input_audio": {"data": f"data:audio/webm;codecs=opus;base64,{text}", "format": "audio/webm;codecs=opus"},
        },
        {"type": "audio_url", "audio_url": {"url": f"data:video/webm;base64,{text}"}},
        {"type": "audio_url", "audio_url": f"data:;base64,{text}"},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{text}", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": text}},
    ):
        read = read_part(part)
        assert read["type"] == "audio" and np.abs(np.fft.rfft(read["value"])).argmax() * 16_000 / len(
            read["value"]
        ) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "pcm16"])
def test_audio_is_encoded_as_asked_and_read_back(form: str) -> None:
    data = encode_audio(TONE, form)
    assert data == encode_audio(TONE, form) and media_type_of(data) == FORMATS[form][0]
    read = read_audio(data, LIMITS)
    assert abs(len(read) - len(TONE)) < 2_500 and np.abs(np.fft.rfft(read)).argmax() * 16_000 / len(
        read
    ) == pytest.approx(440, abs=1)
    assert encode_audio(np.zeros(0, np.float32), form) is not None


def test_bare_samples_are_those_that_openai_s_clients_play() -> None:
    samples = np.frombuffer(encode_audio(TONE, "pcm16"), "<i2")
    assert len(samples) == 48_000 and np.abs(np.fft.rfft(samples)).argmax() * 24_000 / len(samples) == pytest.approx(
        440
    )
    assert abs(np.abs(samples).max() - 16_384) < 300


def test_files_that_are_no_media_are_refused_by_what_they_are() -> None:
    pdf = base64.b64encode(b"%PDF-1.7 and more").decode()
    with pytest.raises(ValueError, match="not an image, audio or video file"):
        read_part({"type": "file", "file": {"file_data": pdf}})
    with pytest.raises(MediaRefused, match=r"cannot be read \(image/png\); known formats: wav, mp3"):
        read_audio(files.encoded(Image.new("RGB", (4, 4)), "PNG"), LIMITS)
