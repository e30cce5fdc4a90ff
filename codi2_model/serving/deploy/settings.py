"""Settings of a server: access, remote media, concurrency and limits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from codi2_model.checkpoints.device import Precision
from codi2_storage.errors import UsageError
from codi2_storage.locations.urls import UrlError, parse_host

if TYPE_CHECKING:
    from codi2_model.serving.http.media import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_VARIABLE = "CODI2_API_TOKEN"


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server. By default no token is needed, no other web origin may call it, and no remote media are fetched."""

    token: str | None = None
    origins: tuple[str, ...] = ()
    """Web origins (https://app.example.org) whose pages may call the API."""
    hosts: tuple[str, ...] = ()
    """Host names that the server accepts. Empty: all. On loopback `serve` adds only the names of this machine."""
    remote_hosts: tuple[str, ...] = ()
    """Hosts from which media are fetched for URLs in requests: example.org, or *.example.org. Empty: none."""
    queue: int = 64
    """Active requests of a replica, including waiting ones; further requests get status 429."""
    max_batch: int = 8
    """Replies generated together, and media in one batch of a decoder."""
    workers: int = 2
    """Parallel batches of each decoder, which share the CPU cores; on a GPU always one."""
    timeout_s: float = 300.0
    drain_s: float = 60.0
    sessions: int = 16
    """Conversations whose key-value cache is kept; the least recently used one is evicted first."""
    replicas: int = 1
    split_decoders: bool = False
    precision: Precision = "auto"
    """Precision of the decoders. auto: bfloat16 where the processor multiplies it, else float32."""
    limits: Limits = None  # type: ignore[assignment]
    """Default: `Limits()`, created late because its module imports the media libraries."""

    def __post_init__(self) -> None:
        for name in ("queue", "max_batch", "workers", "replicas", "sessions"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be at least 1")
        if self.precision not in get_args(Precision):
            raise UsageError(f"precision {self.precision}: must be one of {', '.join(get_args(Precision))}")
        if self.timeout_s <= 0:
            raise UsageError(f"timeout {self.timeout_s}: must be above 0 seconds")
        if self.token is not None and not self.token.isascii():
            raise UsageError("the token contains non-ASCII characters, which an HTTP header cannot contain")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")):
                raise UsageError(f"allow origin {origin}: must begin with http:// or https://")
        for host in self.remote_hosts:
            try:
                parse_host(host.removeprefix("*."))
            except UrlError as error:
                raise UsageError(f"allow remote {host}: {error}") from None
        if self.limits is None:
            from codi2_model.serving.http.media import Limits

            object.__setattr__(self, "limits", Limits())


def read_token(path: str | None) -> str | None:
    """The bearer token from a file, else from the environment, else None."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"token file {path}: cannot be read ({error.strerror})") from None
    if not token:
        raise UsageError(f"token file {path}: the file is empty")
    return token
