"""Counters of a server, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """What was asked and answered. One set an ingress; a scraper adds them up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        about: Any = {"registry": self.registry}
        self.requests = Counter("codi2_requests", "Answers by route and status.", ["route", "status"], **about)
        self.seconds = Histogram(
            "codi2_request_seconds", "From request to the end of its answer.", ["route"], buckets=SECONDS, **about
        )
        self.first = Histogram(
            "codi2_first_event_seconds", "From request to the first event of its reply.", buckets=SECONDS, **about
        )
        self.tokens = Counter("codi2_tokens", "Tokens read, kept by sessions, and written.", ["kind"], **about)
        self.media = Counter("codi2_media", "Media made.", ["modality"], **about)
        self.given_up = Counter("codi2_given_up", "Requests whose client left.", **about)

    def text(self, gauges: Mapping[str, float]) -> bytes:
        """All of it; `gauges` are what the backend says of itself at this moment."""
        lines = []
        for name, value in sorted(gauges.items()):
            kind = "counter" if name.endswith("_total") else "gauge"
            lines.append(f"# TYPE codi2_{name} {kind}\ncodi2_{name} {value:g}\n")
        return generate_latest(self.registry) + "".join(lines).encode()
