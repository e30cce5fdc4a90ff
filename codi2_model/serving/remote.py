"""Fetching media that a request names by URL, for servers that allow some hosts.

A server that fetches what strangers name reaches into its own network. Hence: only hosts on the list; every address that
a name resolves to must be public; the connection goes to the very address that was checked, so that a name cannot change
its mind in between; each redirect is checked anew; sizes and seconds are capped.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from codi2_datasets.fetching.addresses import public
from codi2_model.serving.media import Limits, MediaRefused

REDIRECTS = 3
SECONDS = 15.0
PORTS = {"http": 80, "https": 443}
AGENT = "codi2-open"


def resolve(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Remote:
    """Fetches from allowed hosts. Call it with a URL, what kind of medium is expected, and the caps."""

    hosts: Sequence[str]
    ports: Sequence[int] = (80, 443)
    resolve: Callable[[str, int], list[str]] = resolve
    permitted: Callable[[str], bool] = public
    seconds: float = SECONDS

    def __call__(self, url: str, modality: str, limits: Limits) -> bytes:
        """The bytes at the URL. Raises MediaRefused, whose message tells nothing of the network inside."""
        end = time.monotonic() + self.seconds
        for _ in range(REDIRECTS + 1):
            parts, address = self.check(url)
            try:
                answer = self._get(parts, address, modality, limits, end)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if isinstance(error, MediaRefused):
                    raise
                raise MediaRefused("the address could not be fetched") from error
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise MediaRefused(f"the address redirects more than {REDIRECTS} times")

    def check(self, url: str) -> tuple[SplitResult, str]:
        """The URL's parts and the address to connect to. Raises MediaRefused for what is not allowed."""
        if len(url) > 2_000 or not url.isascii() or not url.isprintable() or any(c in url for c in ' \\"<>'):
            raise MediaRefused("not an address that can be fetched")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            raise MediaRefused("not an address that can be fetched") from None
        if parts.scheme not in PORTS or parts.username is not None or parts.password is not None:
            raise MediaRefused("only http and https addresses without a user can be fetched")
        if not self.listed(host) or port not in self.ports:
            raise MediaRefused("this server does not fetch from that host")
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError):
            raise MediaRefused("the address could not be fetched") from None
        if not addresses or not all(self.permitted(address) for address in addresses):
            raise MediaRefused("this server does not fetch from that host")
        return parts, addresses[0]

    def listed(self, host: str) -> bool:
        host = host.rstrip(".").lower()
        return any(
            host == allowed.lower() or (allowed.startswith("*.") and host.endswith(allowed[1:].lower()))
            for allowed in self.hosts
        )

    def _get(self, parts: SplitResult, address: str, modality: str, limits: Limits, end: float) -> bytes | str:
        """The body, or where a redirect leads."""
        host = parts.hostname or ""
        port = parts.port or PORTS[parts.scheme]
        connection = http.client.HTTPConnection(host, port, timeout=_left(end))
        try:
            connection.sock = socket.create_connection((address, port), timeout=_left(end))
            if parts.scheme == "https":
                connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Accept": f"{modality}/*", "Accept-Encoding": "identity", "User-Agent": AGENT}
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return response.getheader("Location") or ""
            if response.status != 200:
                raise MediaRefused(f"the address answers with status {response.status}")
            return _body(response, limits.medium_bytes, end)
        finally:
            connection.close()


def _body(response: http.client.HTTPResponse, cap: int, end: float) -> bytes:
    declared = response.getheader("Content-Length") or ""
    too_large = MediaRefused(f"larger than {cap / 1024 / 1024:g} MiB")
    if declared.isdigit() and int(declared) > cap:
        raise too_large
    body = bytearray()
    while piece := response.read1(65_536):
        body += piece
        if len(body) > cap:
            raise too_large
        _left(end)
    if not body:
        raise MediaRefused("empty")
    return bytes(body)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise MediaRefused("the address took too long")
    return left
