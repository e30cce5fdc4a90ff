"""Proxy variables never touch loopback: what stays on this machine goes by no proxy, from here and from what we start.

A Prefect server, Ray, our own API: all talk to 127.0.0.1 through clients (httpx, requests, urllib, websockets, gRPC) that
read HTTP_PROXY and the like. Where these are set and NO_PROXY is not, a proxy elsewhere is asked for this machine.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

HOSTS = ("localhost", "127.0.0.1", "::1")
VARIABLES = ("no_proxy", "NO_PROXY")  # some clients read one, some the other


def spare_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Add the names of this machine to NO_PROXY, in both spellings; what stands there already stays."""
    given = [host.strip() for name in VARIABLES for host in environment.get(name, "").split(",") if host.strip()]
    value = "*" if "*" in given else ",".join(dict.fromkeys([*given, *HOSTS]))
    for name in VARIABLES:
        environment[name] = value
    if "no_grpc_proxy" in environment:  # read in place of no_proxy
        environment["no_grpc_proxy"] = ",".join(dict.fromkeys([*environment["no_grpc_proxy"].split(","), *HOSTS]))
