"""Counters of a server, in Prometheus' text format, of all its replicas at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
Numbers = Mapping[str, Mapping[str, float]]
"""What replicas of the model say of themselves at this moment: replica -> name -> value. No replica has the name ""."""


class Metrics:
    """What was asked of one ingress, and answered."""

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

    def families(self) -> list[Metric]:
        """All of it, as it can be sent to another replica."""
        return list(self.registry.collect())


@dataclass(frozen=True)
class Merged:
    """The same families of several replicas as one of each, a label telling the replicas apart."""

    families: Mapping[str, Sequence[Metric]]

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for replica, families in sorted(self.families.items()):
            for family in families:
                found = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                label = {"replica": replica} if replica else {}
                found.samples += [sample._replace(labels={**label, **sample.labels}) for sample in family.samples]
        return merged.values()


def text(families: Mapping[str, Sequence[Metric]], numbers: Numbers) -> bytes:
    """Families by ingress and numbers by replica of the model, in Prometheus' format."""
    told = {replica: [*found] for replica, found in families.items()}
    for replica, values in numbers.items():
        told.setdefault(replica, []).extend(as_family(name, value) for name, value in sorted(values.items()))
    return generate_latest(Merged(told))  # type: ignore[arg-type]  # of a registry it wants `collect` alone


def as_family(name: str, value: float) -> Metric:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(f"codi2_{name}", name.removesuffix("_total").replace("_", " ").capitalize() + ".", value=value)
