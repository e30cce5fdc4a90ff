"""Restricts fetching to public IP addresses, so that untrusted lists cannot reach private networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any

from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver


class PrivateAddress(OSError):
    """A host name resolves to an address in a private network."""


def public(address: str) -> bool:
    """Whether an IP address is public, in any form: IPv4-mapped, translated or tunnelled."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return public(str(inner))
    bad = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified
    return ip.is_global and not bad


def is_private(host: str) -> bool:
    """Whether a host is an IP address that is not public. Names are left to the resolver."""
    try:
        return not public(host.strip("[]"))
    except ValueError:
        return False


class Checked(AbstractResolver):
    """Resolver that returns only addresses that may be connected to; the connection uses exactly the address checked.

    `allowed`: hosts that may resolve to any address, in the spelling of `Url.host`.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = frozenset(allowed)
        self.inner = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        try:
            addresses = await self.inner.resolve(host, port, family)
        except UnicodeError as error:  # a label that is empty or too long
            raise OSError(f"{host[:100]} is no name that can be resolved") from error
        if host not in self.allowed and not all(public(one["host"]) for one in addresses):
            raise PrivateAddress(f"{host} leads into a private network")
        return list(addresses)

    async def close(self) -> None:
        await self.inner.close()
