"""HTTP URLs parsed as browsers do (WHATWG URL Standard).

A URL is parsed once; what is checked (host, port, opt-outs) and what is sent (`target`) are fields of the same `Url`.
Percent-encoding is never decoded and encoded again, because a signature covers the URL as it was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import ada_url

PORTS = {"http": 80, "https": 443}
SURROGATE = re.compile("[\ud800-\udfff]")
NOT_ASCII = re.compile(rb"[\x80-\xff]")


class UrlError(ValueError):
    """Not a URL that can be requested over HTTP. The message names the reason."""


@dataclass(frozen=True)
class Url:
    """A normalized http or https URL, without its fragment."""

    href: str
    scheme: str
    host: str
    """Lower-case ASCII (IDNA), an IPv4 address as four decimal numbers, or an IPv6 address in brackets."""
    port: int
    target: str
    """Path and query as in the request line; an empty query keeps its question mark."""
    credentials: bool
    """Whether the URL contains a user name or a password."""

    @property
    def default_port(self) -> bool:
        return self.port == PORTS[self.scheme]

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.host}" + ("" if self.default_port else f":{self.port}")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def redirect(self, location: str | bytes) -> Url:
        """The URL that a Location header leads to. Its non-ASCII bytes are percent-encoded one by one, as browsers do.

        Raises UrlError.
        """
        data = location.encode("utf-8", "surrogateescape") if isinstance(location, str) else location
        return _parsed(NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], data).decode("ascii"), self.href)


def parse_url(text: str) -> Url:
    """Parse a URL as a browser does. Raises UrlError if it is no http or https URL."""
    return _parsed(text, None)


def parse_host(name: str) -> str:
    """A host name or IP address, without a port, in the spelling of `Url.host`. Raises UrlError."""
    bare = name.strip()
    host = f"[{bare}]" if bare.count(":") > 1 and not bare.startswith("[") else bare
    wrong = UrlError(f"{name!r} is not a host name or an IP address")
    if any(mark in host for mark in "/\\?#@") or ":" in host.rpartition("]")[2]:
        raise wrong
    try:
        return parse_url(f"http://{host}/").host
    except UrlError:
        raise wrong from None


def _parsed(text: str, base: str | None) -> Url:
    try:
        parsed = ada_url.URL(SURROGATE.sub("\ufffd", text), base)
    except ValueError:
        raise UrlError("not a valid URL") from None
    scheme = parsed.protocol.removesuffix(":")
    if scheme not in PORTS:
        raise UrlError("not an http or https URL")
    port = int(parsed.port or PORTS[scheme])
    if port == 0:
        raise UrlError("port 0 cannot be connected to")
    href = parsed.href.partition("#")[0]
    target = "/" + href.partition("://")[2].partition("/")[2]
    return Url(href, scheme, parsed.hostname, port, target, bool(parsed.username or parsed.password))
