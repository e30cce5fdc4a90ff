"""Metrics of a server in the Prometheus text format, for all replicas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
Numbers = Mapping[str, Mapping[str, float]]
"""Current values of the model's replicas: replica -> name -> value. The replica is "" in a server without replicas."""


class Metrics:
    """The counters of one ingress replica."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        options: Any = {"registry": self.registry}
        self.requests = Counter("codi2_requests", "Responses by route and status.", ["route", "status"], **options)
        self.seconds = Histogram(
            "codi2_request_seconds",
            "From the request to the end of its response.",
            ["route"],
            buckets=SECONDS,
            **options,
        )
        self.first = Histogram(
            "codi2_first_event_seconds", "From the request to the first event of the reply.", buckets=SECONDS, **options
        )
        self.tokens = Counter(
            "codi2_tokens", "Tokens of prompts, cached by sessions, and generated.", ["kind"], **options
        )
        self.media = Counter("codi2_media", "Generated media.", ["modality"], **options)
        self.given_up = Counter("codi2_given_up", "Requests whose client disconnected.", **options)

    def families(self) -> list[Metric]:
        """All metrics, in a form that can be sent to another replica."""
        return list(self.registry.collect())


@dataclass(frozen=True)
class Merged:
    """The metrics of several replicas merged into one family each, with the label `replica`."""

    families: Mapping[str, Sequence[Metric]]

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for replica, families in sorted(self.families.items()):
            for family in families:
                target = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                label = {"replica": replica} if replica else {}
                target.samples += [sample._replace(labels={**label, **sample.labels}) for sample in family.samples]
        return merged.values()


def text(families: Mapping[str, Sequence[Metric]], numbers: Numbers) -> bytes:
    """The counters of the ingress replicas and the values of the model's replicas in the Prometheus text format."""
    merged = {replica: [*metrics] for replica, metrics in families.items()}
    for replica, values in numbers.items():
        merged.setdefault(replica, []).extend(as_family(name, value) for name, value in sorted(values.items()))
    return generate_latest(Merged(merged))  # type: ignore[arg-type]  # it only calls `collect`


def as_family(name: str, value: float) -> Metric:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(f"codi2_{name}", name.removesuffix("_total").replace("_", " ").capitalize() + ".", value=value)
