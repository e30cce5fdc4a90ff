"""Fetching what a request names by URL: only from hosts on the list, only at public addresses, however they are spelled."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from codi2_model.serving.media import Limits, MediaRefused
from codi2_model.serving.remote import Remote, public
from tests.codi2_model.serving.hostile_wire import ALLOWED, INSIDE, PRIVATE, addresses, spellings


class AnyHost:
    """A list that has every host on it: what is refused then is refused for its address."""

    def __iter__(self) -> Iterator[str]:
        yield self.host

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).hostname or ""


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused_in_every_spelling_even_from_a_listed_host(address: str) -> None:
    for host in spellings(address):
        url = f"http://{host}/a.png"
        fetch = Remote(list(AnyHost(url)), resolve=numeric)
        with pytest.raises(MediaRefused):
            fetch.check(url)


def numeric(host: str, port: int) -> list[str]:
    """The system's own reading of a number, with no question to a name server."""
    try:
        return [
            str(entry[4][0])
            for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        ]
    except socket.gaierror:
        return [socket.inet_ntoa(socket.inet_aton(host))]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_counts_as_public(address: str) -> None:
    assert not public(address)


def test_public_addresses_do() -> None:
    assert public("8.8.8.8") and public("2606:4700:4700::1111") and public("::ffff:8.8.8.8")


REDIRECTS = [f"http://{host}/a.png" for address in INSIDE for host in spellings(address)] + [
    "file:///etc/passwd",
    "",
    "//",
]


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
        **{f"/to{n}": (302, {"Location": url}, b"") for n, url in enumerate(REDIRECTS)},
    }
    with website(pages) as port:
        fetch = Remote([f"*.{ALLOWED.partition('.')[2]}"], (port,), resolve, lambda address: address == "127.0.0.1")
        base = f"http://media.example.org:{port}"
        limits = Limits(medium_bytes=1_000)
        assert fetch(f"{base}/a.png", "image", limits) == b"picture" and asked == ["media.example.org"]
        assert fetch(f"{base}/near", "image", limits) == b"picture"
        for path, why in (("away", "does not fetch"), ("round", "redirects"), ("big", "larger"), ("nothing", "404")):
            with pytest.raises(MediaRefused, match=why):
                fetch(f"{base}/{path}", "image", limits)
        for n in range(len(REDIRECTS)):
            with pytest.raises(MediaRefused):
                fetch(f"{base}/to{n}", "image", limits)
        assert set(asked) == {"media.example.org"}
        with pytest.raises(MediaRefused, match="does not fetch"):  # the same name, and its real, private address
            Remote([f"*.{ALLOWED.partition('.')[2]}"], (port,), resolve)(f"{base}/a.png", "image", limits)
        for url in addresses():
            with pytest.raises(MediaRefused):
                fetch(url, "image", limits)


def test_a_name_of_which_one_address_is_private_is_not_fetched() -> None:
    fetch = Remote(["example.org"], resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(MediaRefused, match="does not fetch"):
        fetch("https://example.org/a.png", "image", Limits())
