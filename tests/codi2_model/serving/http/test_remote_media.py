"""Fetching what a request names by URL: only from hosts on the list, only at public addresses, however they are spelled."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from codi2_model.serving.http.media import Limits, MediaRefused
from codi2_model.serving.http.remote_media import RemoteFetcher, public
from codi2_storage.locations.urls import parse_url
from tests.codi2_model.serving.hostile_wire import ALLOWED, INSIDE, PRIVATE, addresses, lenient, spellings
from tests.storage.locations.test_urls import SIGNED
from tests.web import Reply, site


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
        fetch = RemoteFetcher(list(AnyHost(url)), resolve=numeric)
        with pytest.raises(MediaRefused):
            fetch.check(parse_url(url))


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
    with site(lambda target: pages.get(target, (404, {}, b""))) as web:
        port = int(web.url.rpartition(":")[2])
        fetch = RemoteFetcher(
            [f"*.{ALLOWED.partition('.')[2]}"], (port,), resolve, lambda address: address == "127.0.0.1"
        )
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
            RemoteFetcher([f"*.{ALLOWED.partition('.')[2]}"], (port,), resolve)(f"{base}/a.png", "image", limits)
        for url in addresses():
            with pytest.raises(MediaRefused):
                fetch(url, "image", limits)


def test_a_name_of_which_one_address_is_private_is_not_fetched() -> None:
    fetch = RemoteFetcher(["example.org"], resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(MediaRefused, match="does not fetch"):
        fetch("https://example.org/a.png", "image", Limits())


def on_loopback(port: int, *hosts: str) -> RemoteFetcher:
    """Whatever the name, it is loopback that is asked."""
    return RemoteFetcher(
        hosts or (ALLOWED,), (port,), lambda host, _: ["127.0.0.1"], lambda address: address == "127.0.0.1"
    )


def test_a_url_is_asked_for_as_it_is_written_by_redirects_as_well() -> None:
    moved = {"/moved%2f": (f"{SIGNED}&moved=%3D%3a").encode(), "/to-latin1": b"/\xe9 b", "/to-utf8": "/é".encode()}

    def reply(target: str) -> Reply:
        return (302, {"Location": moved[target]}, b"") if target in moved else (200, {}, b"body")

    expected = {
        SIGNED: [SIGNED], "/a%2Fb?x=%7E": ["/a%2Fb?x=%7E"], "/a?": ["/a?"], "/a b/é#f": ["/a%20b/%C3%A9"], "?q": ["/?q"],
        "/moved%2f": ["/moved%2f", f"{SIGNED}&moved=%3D%3a"], "/to-latin1": ["/to-latin1", "/%E9%20b"], "/to-utf8": ["/to-utf8", "/%C3%A9"],
    }  # fmt: skip
    with site(reply) as web:
        port = int(web.url.rpartition(":")[2])
        fetch = on_loopback(port, "BÜCHER.example", "*.日本.example")
        for host in ("bücher.example", "B%C3%BCcher.example", "xn--bcher-kva.example.", "a.日本.example"):
            for given, asked in expected.items():
                web.targets.clear()
                assert fetch(f"http://{host}:{port}{given}", "image", Limits()) == b"body" and web.targets == asked
        assert {name.rstrip(".") for name in web.hosts} == {
            f"xn--bcher-kva.example:{port}",
            f"xn--bcher-kva.example.:{port}",
            f"a.xn--wgv71a.example:{port}",
        }


def test_what_looks_hostile_is_asked_of_the_host_that_was_checked() -> None:
    with site(lambda target: (200, {}, b"body")) as web:
        port = int(web.url.rpartition(":")[2])
        fetch = on_loopback(port)
        for url, target in lenient().items():
            assert fetch(url.replace(ALLOWED, f"{ALLOWED}:{port}"), "image", Limits()) == b"body"
            assert (web.targets[-1], web.hosts[-1]) == (target, f"{ALLOWED}:{port}")


def test_a_default_port_stands_in_no_host_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures cover the Host header; HTTP's own port is no default of HTTPS."""
    sent: list[bytes] = []

    class Wire(socket.socket):
        def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
            sent.append(data)
            raise ConnectionError

    monkeypatch.setattr("codi2_model.serving.http.remote_media.socket.create_connection", lambda *a, **k: Wire())
    monkeypatch.setattr("ssl.SSLContext.wrap_socket", lambda self, wire, server_hostname: wire)
    for url in ("https://example.org/a", "https://example.org:443/a", "http://example.org:80/a"):
        with pytest.raises(MediaRefused):
            RemoteFetcher(["example.org"], resolve=lambda host, port: ["8.8.8.8"])(url, "image", Limits())
    assert [b"\r\nHost: example.org\r\n" in data for data in sent] == [True] * 3
