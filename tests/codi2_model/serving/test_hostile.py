"""Hundreds of hostile requests over the real, very small model: none gets past, none makes the server fail."""

from __future__ import annotations

import base64
import http.server
import io
import json
import random
import socket
import struct
import threading
import wave
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_model.serving.api import build_api
from codi2_model.serving.media import Limits, MediaRefused
from codi2_model.serving.remote import Remote, public

PRIVATE = (
    "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:7f00:1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "ff02::1", "198.18.0.1", "192.0.2.1", "240.0.0.1",
)  # fmt: skip
SPELLINGS = (
    "http://127.0.0.1/a.png", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://localhost/", "http://LOCALHOST./", "http://127.0.0.1.nip.io/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://user@127.0.0.1/",
    "http://example.org@127.0.0.1/", "http://127.0.0.1#@example.org/", "http://example.org\\@127.0.0.1/", "//127.0.0.1/",
    "file:///etc/passwd", "gopher://127.0.0.1:70/", "ftp://127.0.0.1/", "dict://127.0.0.1:11211/", "jar:http://x!/",
    "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://[::]:80/", "http://0/", "/etc/passwd", "../../etc/passwd",
    "http://127.0.0.1:6379/", "https://[fe80::1%25eth0]/", "http://\n127.0.0.1/", "http:///etc/passwd", "javascript:alert(1)",
    "data:image/svg+xml;base64,PHN2Zy8+", "data:text/html;base64,PGI+", "data:image/png,plain", "DATA:image/png;base64,AAAA",
)  # fmt: skip


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    def piece(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = piece(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + piece(b"IDAT", zlib.compress(data, 9)) + piece(b"IEND", b"")


def silence(seconds: int, channels: int = 1, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((seconds * rate, channels), np.int16), rate, format="FLAC")
    return buffer.getvalue()


def lying_wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\0" * 100)
    data = bytearray(buffer.getvalue())
    data[24:28] = struct.pack("<I", 0xFFFFFFFF)
    return bytes(data)


def endless_gif() -> bytes:
    frames = [Image.new("L", (8, 8), n % 256) for n in range(2_500)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=1000)
    return buffer.getvalue()


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def sound(data: Any, form: Any = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def clip(data: bytes) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + b64(data)}}


def bad_parts() -> list[Any]:
    """Parts none of which may be accepted."""
    random.seed(0)
    noise = [random.randbytes(200) for _ in range(20)]
    heads = [
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"\xff\xd8\xff",
        b"BM",
        b"fLaC",
        b"OggS",
        b"\0\0\0\x18ftypmp42",
    ]
    rubbish = [head + piece for head, piece in zip(heads * 3, noise, strict=False)]
    parts: list[Any] = [image(url) for url in SPELLINGS]
    parts += [image("data:image/png;base64," + b64(data)) for data in rubbish]
    parts += [sound(b64(data), form) for data in rubbish for form in ("wav", "mp3")]
    parts += [clip(data) for data in (*rubbish, endless_gif(), png_header(40_000, 40_000))]
    parts += [
        image("data:image/png;base64," + b64(png_header(side, side, b"\0" * 10_000)))
        for side in (5_000, 60_000, 2**31 - 1)
    ]
    parts += [sound(b64(silence(90)), "flac"), sound(b64(lying_wav())), sound(b64(silence(61, 8)), "flac")]
    parts += [image(thing) for thing in (None, 5, [], {}, "", True, "data:", "data:;base64,", "x" * 10_000)]
    parts += [sound(None), sound("AAAA", None), sound("AAAA", "../../x"), sound("", "wav"), {"type": "input_audio"}]
    parts += [None, 5, "text", [], {}, {"type": None}, {"type": {}}, {"type": "file", "file": {"file_data": "x"}}]
    parts += [{"type": "text", "text": thing} for thing in (None, 5, [], {}, "\ud800", "x\udfff")]
    parts += [
        {"type": "image_url", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_file", "path": "/etc/passwd"},
    ]
    return parts


def bad_bodies() -> list[bytes]:
    """Whole bodies none of which may be accepted."""
    nested: Any = "x"
    for _ in range(500):
        nested = [nested]
    user = {"role": "user", "content": "x"}
    bodies: list[Any] = [{"messages": thing} for thing in (None, 5, "x", {}, [], [None], [5], [[]], nested)]
    bodies += [{"messages": [{"role": role, "content": "x"}]} for role in (None, 5, {}, [], "robot", "tool", "user\0")]
    bodies += [{"messages": [{"role": "user", "content": thing}]} for thing in (None, 5, {}, [], [[]], nested)]
    bodies += [{"messages": [user] * 5_000}, {"messages": [{"role": "user", "content": "x" * 100_000}]}]
    things = (None, -1, 1e308, "x", [], {}, nested, 10**30, True, "\ud800")
    names = (
        "seed",
        "steps",
        "guidance",
        "max_tokens",
        "temperature",
        "top_p",
        "preview_every",
        "modalities",
        "session",
    )
    wrong = [{"messages": [user], name: thing} for name in names for thing in things[1:]]
    bodies += [
        body for body in wrong if (list(body)[1], list(body.values())[1]) not in (("session", "x"), ("guidance", True))
    ]
    bodies += [{"messages": [user], name: 1} for name in ("__class__", "\ud800", "x" * 5_000, "messages\0", "tools")]
    raw = [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 50_000, b"NaN", b"1e999999", b"0" * 10_000, b'"\\ud800"']
    raw += [b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5_000 + b"}", b"--x\r\n\r\n"]
    return [json.dumps(body).encode() for body in bodies] + raw


def test_no_hostile_request_gets_past_or_breaks_the_server(pipeline: Any, served: Any) -> None:
    count = 0
    with pipeline() as backend, served(build_api(backend)) as url, httpx.Client(timeout=60) as client:
        before = memory()

        def post(body: bytes, route: str = "chat/completions", **headers: str) -> httpx.Response:
            nonlocal count
            count += 1
            return client.post(f"{url}/v1/{route}", content=body, headers=headers)

        for part in bad_parts():
            body = json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]})
            answer = post(body.encode())
            assert 400 <= answer.status_code < 500, (part, answer.status_code)
            error = answer.json()["error"]
            assert error["message"] and "/work" not in answer.text and "Traceback" not in answer.text
        for body in bad_bodies():
            for route in ("chat/completions", "images/generations"):
                answer = post(body, route)
                assert 400 <= answer.status_code < 500, (route, body[:200], answer.status_code)
        good = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "modalities": ["text"]})
        for name, value in HEADERS:
            answer = post(good.encode(), **{name: value})
            assert answer.status_code < 500, (name, answer.status_code)
        for request in RAW:
            count += 1
            reply = raw(url, request)
            assert not reply.startswith(b"HTTP/1.1 5"), request[:80]
        assert post(good.encode()).status_code == 200  # and it still answers
        assert memory() - before < 600
    assert count > 350


HEADERS = [
    ("Content-Type", "text/plain"), ("Content-Type", "multipart/form-data; boundary=x"), ("Content-Encoding", "gzip"),
    ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.example"),
    ("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", "file://"), ("Authorization", "Bearer " + "x" * 5_000),
    ("Cookie", "a=" + "b" * 4_000), ("Range", "bytes=0-1"), ("Expect", "100-continue"), ("Accept", "a" * 3_000),
    ("serve_multiplexed_model_id", "../../x"), ("X-Request-Id", "x" * 4_000), ("Host", "evil.example, 127.0.0.1"),
]  # fmt: skip
RAW = [
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /page/%2e%2e%2f%2e%2e%2fapi.py HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /page/..\\api.py HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /page/index.html%00.js HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/models/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2_000 + b"\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n"
    b"Access-Control-Request-Method: POST\r\n\r\n",
]  # fmt: skip


def raw(url: str, request: bytes) -> bytes:
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=3) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)
        except OSError:  # refused by closing
            return b""


def memory() -> float:
    """Resident MiB of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def test_a_picture_is_refused_by_its_header_before_it_is_unpacked(pipeline: Any) -> None:
    from codi2_model.serving.media import read_image

    with pytest.raises(MediaRefused, match="more than 16,777,216 pixels"):
        read_image(png_header(60_000, 60_000), Limits())


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_counts_as_public(address: str) -> None:
    assert not public(address)


def test_public_addresses_do() -> None:
    assert public("8.8.8.8") and public("2606:4700:4700::1111") and public("::ffff:8.8.8.8")


@contextmanager
def website(pages: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = pages.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_an_allowed_host_is_fetched_from_the_address_that_was_checked() -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    pages = {
        "/a.png": (200, {}, b"picture"),
        "/away": (302, {"Location": "http://evil.example/"}, b""),
        "/near": (302, {"Location": "/a.png"}, b""),
        "/round": (302, {"Location": "/round"}, b""),
        "/big": (200, {}, b"x" * 2_000),
    }
    with website(pages) as port:
        fetch = Remote(["*.example.org"], (port,), resolve, lambda address: address == "127.0.0.1")
        base = f"http://media.example.org:{port}"
        limits = Limits(medium_bytes=1_000)
        assert fetch(f"{base}/a.png", "image", limits) == b"picture" and asked == ["media.example.org"]
        assert fetch(f"{base}/near", "image", limits) == b"picture"
        for path, why in (("away", "does not fetch"), ("round", "redirects"), ("big", "larger"), ("nothing", "404")):
            with pytest.raises(MediaRefused, match=why):
                fetch(f"{base}/{path}", "image", limits)
        with pytest.raises(MediaRefused, match="does not fetch"):  # the same name, and its real, private address
            Remote(["*.example.org"], (port,), resolve)(f"{base}/a.png", "image", limits)
        for url in SPELLINGS:
            with pytest.raises(MediaRefused):
                fetch(url, "image", limits)


def test_a_name_of_which_one_address_is_private_is_not_fetched() -> None:
    fetch = Remote(["example.org"], resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(MediaRefused, match="does not fetch"):
        fetch("https://example.org/a.png", "image", Limits())
