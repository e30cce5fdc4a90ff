"""A thousand hostile requests over the real, very small model: none gets past, none makes the server fail."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.http.api import build_api
from codi2_model.serving.http.media import Limits, MediaRefused
from tests.codi2_model.serving import hostile_media, hostile_wire
from tests.codi2_model.serving.wire_media import base64_of

GOOD = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "modalities": ["text"]}
TELLING = ("/work", "/home", "Traceback", "site-packages", "root:", 'File "')


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def sound(data: Any, form: Any = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def clip(data: bytes) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + base64_of(data)}}


def picture(data: bytes) -> dict[str, Any]:
    return image("data:image/png;base64," + base64_of(data))


def bad_parts() -> Iterator[Any]:
    """Parts none of which may be accepted."""
    yield from (image(url) for url in hostile_wire.addresses())
    for data in hostile_media.rubbish():
        yield from (picture(data), clip(data), sound(base64_of(data)), sound(base64_of(data), "mp3"))
    yield from (picture(data) for data in hostile_media.pictures())
    yield from (clip(data) for data in hostile_media.clips())
    yield from (sound(base64_of(data), form) for data, form in hostile_media.sounds())
    for text in hostile_wire.base64s():
        yield from (sound(text), image(f"data:image/png;base64,{text}" if isinstance(text, str) else text))
    yield from (sound("AAAA", form) for form in (None, 5, "../../x", "wav\0", "w" * 5_000, "pcm16", "exe"))
    yield from (None, 5, "text", [], {}, {"type": None}, {"type": {}}, {"type": "file", "file": {"file_data": "x"}})
    yield from ({"type": "text", "text": thing} for thing in (None, 5, [], {}, "\ud800", "x\udfff"))
    yield {"type": "image_url", "image_url": "data:image/png;base64,AAAA"}
    yield {"type": "input_file", "path": "/etc/passwd"}
    yield {"type": "input_audio"}


@pytest.fixture(scope="module")
def server(engine: Any, served: Any) -> Iterator[str]:
    """A server that fetches from one host: nothing else may be reached through it."""
    from codi2_model.serving.scheduler.pipeline import Pipeline

    settings = ServerSettings(remote_hosts=(hostile_wire.ALLOWED,))
    pipeline = Pipeline(engine, settings)
    with served(build_api(pipeline, settings)) as url:
        yield url
    pipeline.close()


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """Any look-up or connection other than to the server itself is an error."""
    own, real = urlsplit(server).port, socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        assert port in (own, str(own)), f"{host} was looked up"
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def refused(answer: httpx.Response, what: Any) -> None:
    assert 400 <= answer.status_code < 500, (str(what)[:200], answer.status_code)
    assert answer.json()["error"]["message"] and not any(word in answer.text for word in TELLING), str(what)[:200]


@pytest.fixture(scope="module")
def counted() -> Iterator[list[int]]:
    """How many requests each test sent; all together make the thousand."""
    counts: list[int] = []
    yield counts
    assert len(counts) < 5 or sum(counts) > 1_000


def test_no_part_gets_past(server: str, no_connections: None, counted: list[int]) -> None:
    before = memory()
    with httpx.Client(timeout=60) as client:
        for part in (parts := list(bad_parts())):
            body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]}
            refused(client.post(f"{server}/v1/chat/completions", content=json.dumps(body).encode()), part)
        counted.append(len(parts))
        assert client.post(f"{server}/v1/chat/completions", json=GOOD).status_code == 200
    assert memory() - before < 600


def test_no_body_gets_past(server: str, no_connections: None, counted: list[int]) -> None:
    with httpx.Client(timeout=60) as client:
        for number, body in enumerate(hostile_wire.bodies()):
            route = "images/generations" if number % 4 == 0 else "chat/completions"
            refused(client.post(f"{server}/v1/{route}", content=body), body)
        counted.append(number + 1)
        assert client.post(f"{server}/v1/chat/completions", json=GOOD).status_code == 200


def test_damaged_media_are_read_or_refused(server: str, no_connections: None, counted: list[int]) -> None:
    with httpx.Client(timeout=60) as client:
        for count, (modality, data, form) in enumerate(hostile_media.damaged(), 1):
            text = base64_of(data)
            part = sound(text, form) if modality == "audio" else picture(data) if modality == "image" else clip(data)
            body = GOOD | {"messages": [{"role": "user", "content": [part]}]}
            answer = client.post(f"{server}/v1/chat/completions", json=body)
            if answer.status_code != 200:
                refused(answer, (modality, form, count))
        counted.append(count)


def test_headers_change_nothing_and_break_nothing(server: str, no_connections: None, counted: list[int]) -> None:
    good = json.dumps(GOOD).encode()
    with httpx.Client(timeout=60) as client:
        for name, value in hostile_wire.HEADERS:
            headers = [(name.encode(), value.encode("latin-1"))]
            answer = client.post(f"{server}/v1/chat/completions", content=good, headers=headers)
            assert answer.status_code < 500, (name, value[:50], answer.status_code)
    for request in (requests := list(hostile_wire.raw())):
        reply = raw(server, request)
        assert not reply.startswith(b"HTTP/1.1 5"), request[:80]
        assert b"/smuggled" not in reply and not any(word.encode() in reply for word in TELLING)
    counted.append(len(hostile_wire.HEADERS) + len(requests))
    assert httpx.post(f"{server}/v1/chat/completions", content=good, timeout=60).status_code == 200


def test_no_path_leads_to_a_file(server: str, no_connections: None, counted: list[int]) -> None:
    for path in (paths := list(hostile_wire.paths())):
        reply = raw(server, b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert reply.split(b" ", 2)[1] in (b"307", b"400", b"404", b"405", b"421"), (path, reply[:200])
        assert b"import annotations" not in reply and b"root:" not in reply, path
    counted.append(len(paths))


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
    return float(psutil.Process().memory_info().rss / 2**20)


def test_a_picture_is_refused_by_its_header_before_it_is_unpacked() -> None:
    from codi2_model.serving.http.media import read_image

    with pytest.raises(MediaRefused, match="more than 16,777,216 pixels"):
        read_image(hostile_media.png(60_000, 60_000), Limits())
