"""Options for fetching a list."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from codi2_datasets.fetching.rules import Blocklist
from codi2_storage.errors import UsageError
from codi2_storage.locations.urls import UrlError, parse_host

VERSION = "2"  # since 2, a URL is requested as listed


@dataclass(frozen=True)
class Options:
    media: str = "image"
    """image, audio or video: the modality to keep."""
    size: int = 256
    """Maximum length of an image's shorter side in pixels; 0 keeps images unchanged."""
    quality: int = 90
    shard_rows: int = 1_000
    at_once: int = 64
    """Requests in flight per worker."""
    per_host: int = 8
    timeout: float = 30.0
    """Seconds for one attempt, from the connection to the last byte."""
    stall: float = 10.0
    """Seconds without a byte."""
    retries: int = 2
    most_bytes: int = 32 * 2**20
    most_pixels: int = 100_000_000
    robots: bool = True
    """Honor robots.txt, tdmrep.json and the opt-out headers."""
    hosts: tuple[str, ...] = ()
    """Hosts that may resolve to private addresses."""
    blocklist: Blocklist = field(default_factory=Blocklist)

    def __post_init__(self) -> None:
        if self.media not in ("image", "audio", "video"):
            raise UsageError(f"media {self.media!r}: image, audio or video is wanted")
        for name in ("shard_rows", "at_once", "per_host", "timeout", "stall", "most_bytes", "most_pixels"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name.replace('_', ' ')}: more than 0 is wanted")
        try:
            object.__setattr__(self, "hosts", tuple(parse_host(host) for host in self.hosts))
        except UrlError as error:
            raise UsageError(f"allow host: {error}") from None

    def deciding(self) -> dict[str, Any]:
        """The options that determine the bytes; the others only affect speed."""
        names = ("media", "size", "quality", "shard_rows", "most_bytes", "most_pixels", "robots")
        known = asdict(self)
        return {"version": VERSION, **{name: known[name] for name in names}, "blocklist": self.blocklist.words()}
