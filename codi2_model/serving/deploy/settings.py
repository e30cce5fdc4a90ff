"""How a server is run: who may call it, what it may fetch, how much it takes on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codi2_model.checkpoints.registry import UsageError
from codi2_storage.locations.urls import UrlError, parse_host

if TYPE_CHECKING:
    from codi2_model.serving.http.media import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_VARIABLE = "CODI2_API_TOKEN"


@dataclass(frozen=True)
class ServerSettings:
    """Closed unless opened: no token is asked on loopback alone, no other origin may call, nothing remote is fetched."""

    token: str | None = None
    origins: tuple[str, ...] = ()
    """Web origins (https://app.example.org) whose pages may call the API."""
    hosts: tuple[str, ...] = ()
    """Host names that the server answers to. Empty: any; on loopback `serve` adds the names of this machine alone."""
    remote_hosts: tuple[str, ...] = ()
    """Hosts whose media are fetched for URLs in requests: example.org, or *.example.org. Empty: none at all."""
    queue: int = 64
    """Requests under way in a replica, those that wait for others included; more are refused with 429."""
    max_batch: int = 8
    """Replies written at once, and media in one batch of a decoder."""
    workers: int = 2
    """Batches that each decoder has under way at once, on as many shares of the processor's cores; on a GPU one."""
    timeout_s: float = 300.0
    drain_s: float = 60.0
    sessions: int = 16
    """Conversations whose key-value cache is kept; the least recently used goes first."""
    replicas: int = 1
    split_decoders: bool = False
    limits: Limits = None  # type: ignore[assignment]
    """The usual ones where left out: made last, since they bring the libraries of media along."""

    def __post_init__(self) -> None:
        for name in ("queue", "max_batch", "workers", "replicas", "sessions"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: {getattr(self, name)} is below 1")
        if self.timeout_s <= 0:
            raise UsageError(f"timeout: {self.timeout_s} s is not above 0")
        if self.token is not None and not self.token.isascii():
            raise UsageError("the token holds other than ASCII characters, which no header can carry")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")):
                raise UsageError(f"{origin}: an origin begins with http:// or https://")
        for host in self.remote_hosts:
            try:
                parse_host(host.removeprefix("*."))
            except UrlError as error:
                raise UsageError(f"allow remote: {error}") from None
        if self.limits is None:
            from codi2_model.serving.http.media import Limits

            object.__setattr__(self, "limits", Limits())


def read_token(path: str | None) -> str | None:
    """The bearer token of a file, else of the environment; None where there is neither."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{path}: the token cannot be read ({error.strerror})") from None
    if not token:
        raise UsageError(f"{path}: the file of the token is empty")
    return token
