"""Counters of a stage: means of losses since the last row of metrics, and timings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class Window:
    """Means of losses since the last row of metrics; part of the state of a checkpoint."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.sums: dict[str, float] = dict((state or {}).get("sums", {}))
        self.counts: dict[str, int] = dict((state or {}).get("counts", {}))

    def add(self, values: Mapping[str, float]) -> None:
        """Add the losses of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, names: Sequence[str], device: torch.device, world: int = 1) -> dict[str, float]:
        """Means over all workers, and reset; names without values are left out."""
        table = torch.tensor([[self.sums.get(n, 0.0), self.counts.get(n, 0)] for n in names], dtype=torch.float64)
        if world > 1:
            table = table.to(device)
            torch.distributed.all_reduce(table)
        means = {n: float(s / c) for n, (s, c) in zip(names, table.cpu(), strict=True) if c > 0}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}


class Meter:
    """Timings: seconds since the last row, the fraction spent waiting for samples, and the speed since the start."""

    def __init__(self, step: int) -> None:
        self.first_step, self.started = step, time.monotonic()
        self.row_started, self.waited = self.started, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within a `with` block as waiting for samples."""
        start = time.monotonic()
        yield
        self.waited += time.monotonic() - start

    def read(self) -> dict[str, float]:
        """{"data_wait": fraction, "seconds": …} since the last call."""
        now = time.monotonic()
        seconds = now - self.row_started
        timings = {"data_wait": round(self.waited / max(seconds, 1e-9), 4), "seconds": round(seconds, 3)}
        self.row_started, self.waited = now, 0.0
        return timings

    def speed(self, step: int) -> float:
        """Steps per second since the start."""
        return (step - self.first_step) / max(time.monotonic() - self.started, 1e-9)
