"""Keeps connections to loopback out of proxies, for this process and its children.

Prefect's server, Ray and the API talk to 127.0.0.1 through clients (httpx, requests, urllib, websockets, gRPC) that
read HTTP_PROXY and similar variables. If these are set and NO_PROXY is not, the clients ask a remote proxy for this
machine.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

HOSTS = ("localhost", "127.0.0.1", "::1")
VARIABLES = ("no_proxy", "NO_PROXY")  # some clients read one, some the other


def spare_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Add the loopback names to NO_PROXY, in both spellings. Existing entries stay."""
    hosts = [host.strip() for name in VARIABLES for host in environment.get(name, "").split(",") if host.strip()]
    value = "*" if "*" in hosts else ",".join(dict.fromkeys([*hosts, *HOSTS]))
    for name in VARIABLES:
        environment[name] = value
    if "no_grpc_proxy" in environment:  # gRPC reads it in place of no_proxy
        environment["no_grpc_proxy"] = ",".join(dict.fromkeys([*environment["no_grpc_proxy"].split(","), *HOSTS]))
