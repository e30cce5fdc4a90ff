"""Fetches media that a request names by URL, from allowed hosts only.

Protection against server-side request forgery: only hosts on the list are fetched from; all IP addresses of a host must be
public; the connection uses the checked address, so that a second DNS lookup cannot change it; each redirect is checked again;
size and time are limited.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from codi2_datasets.fetching.addresses import public
from codi2_model.serving.http.media import Limits, MediaRefused
from codi2_storage.locations.urls import PORTS, Url, UrlError, parse_host, parse_url

REDIRECTS = 3
SECONDS = 15.0
LONGEST_URL = 8_000  # characters; signed URLs have about 2,000
AGENT = "codi2-open"


def remote_host(name: str) -> str:
    """`example.org` or `*.example.org` in the normalised form of `Url.host`. Raises UrlError."""
    wild, bare = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    return wild + parse_host(bare).rstrip(".")


def resolve(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Redirect:
    """A redirect, with the bytes of its Location header."""

    location: bytes


@dataclass(frozen=True)
class RemoteFetcher:
    """Fetches from allowed hosts. Call it with a URL, the expected modality and the limits."""

    hosts: Sequence[str]
    ports: Sequence[int] = (80, 443)
    resolve: Callable[[str, int], list[str]] = resolve
    permitted: Callable[[str], bool] = public
    seconds: float = SECONDS

    def __call__(self, url: str, modality: str, limits: Limits) -> bytes:
        """The bytes at the URL. Raises MediaRefused, without details of the internal network."""
        end = time.monotonic() + self.seconds
        if len(url) > LONGEST_URL:
            raise MediaRefused(f"the URL is longer than {LONGEST_URL:,} characters")
        with _bad_urls_refused():
            target = parse_url(url)
        for _ in range(REDIRECTS + 1):
            address = self.check(target)
            try:
                answer = self._get(target, address, modality, limits, end)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if isinstance(error, MediaRefused):
                    raise
                raise MediaRefused("the URL could not be fetched") from error
            if not isinstance(answer, Redirect):
                return answer
            with _bad_urls_refused():
                target = target.redirect(answer.location)
        raise MediaRefused(f"the URL redirects more than {REDIRECTS} times")

    def check(self, url: Url) -> str:
        """The IP address to connect to. Raises MediaRefused for a URL that is not allowed."""
        if url.credentials:
            raise MediaRefused("a URL with a user name or a password is not supported")
        if not self.listed(url.host) or url.port not in self.ports:
            raise MediaRefused("this server does not fetch from that host")
        try:
            addresses = self.resolve(url.host.strip("[]"), url.port)
        except (OSError, UnicodeError):
            raise MediaRefused("the URL could not be fetched") from None
        if not addresses or not all(self.permitted(address) for address in addresses):
            raise MediaRefused("this server does not fetch from that host")
        return addresses[0]

    def listed(self, host: str) -> bool:
        host = host.rstrip(".")
        return any(
            host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
            for allowed in map(remote_host, self.hosts)
        )

    def _get(self, url: Url, address: str, modality: str, limits: Limits, end: float) -> bytes | Redirect:
        """The body, or the redirect."""
        connection = http.client.HTTPConnection(url.host.strip("[]"), url.port, timeout=_left(end))
        connection.default_port = PORTS[url.scheme]  # signed URLs need a Host header without the default port
        try:
            connection.sock = socket.create_connection((address, url.port), timeout=_left(end))
            if url.scheme == "https":
                context = ssl.create_default_context()
                connection.sock = context.wrap_socket(connection.sock, server_hostname=url.host.strip("[]"))
            headers = {"Accept": f"{modality}/*", "Accept-Encoding": "identity", "User-Agent": AGENT}
            connection.request("GET", url.target, headers=headers)
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return Redirect((response.getheader("Location") or "").encode("latin-1"))
            if response.status != 200:
                raise MediaRefused(f"the URL answers with status {response.status}")
            return _body(response, limits.medium_bytes, end)
        finally:
            connection.close()


@contextmanager
def _bad_urls_refused() -> Iterator[None]:
    try:
        yield
    except UrlError as error:
        raise MediaRefused(f"the URL cannot be fetched: {error}") from None


def _body(response: http.client.HTTPResponse, limit: int, end: float) -> bytes:
    declared = response.getheader("Content-Length") or ""
    too_large = MediaRefused(f"larger than {limit / 1024 / 1024:g} MiB")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    body = bytearray()
    while block := response.read1(65_536):
        body += block
        if len(body) > limit:
            raise too_large
        _left(end)
    if not body:
        raise MediaRefused("empty")
    return bytes(body)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise MediaRefused("fetching the URL took too long")
    return left
