"""What a stage counts while it runs: means of losses since the last row, and time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class Window:
    """Means of losses since the last row; part of the resumable state."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.sums: dict[str, float] = dict((state or {}).get("sums", {}))
        self.counts: dict[str, int] = dict((state or {}).get("counts", {}))

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, names: Sequence[str], device: torch.device, world: int = 1) -> dict[str, float]:
        """Over all workers; a name nobody saw is left out."""
        table = torch.tensor([[self.sums.get(n, 0.0), self.counts.get(n, 0)] for n in names], dtype=torch.float64)
        if world > 1:
            table = table.to(device)
            torch.distributed.all_reduce(table)
        found = {n: float(s / c) for n, (s, c) in zip(names, table.cpu(), strict=True) if c > 0}
        self.sums, self.counts = {}, {}
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}


class Meter:
    """Time since the last row, the part of it spent waiting for samples, and the speed since the start."""

    def __init__(self, step: int) -> None:
        self.first, self.began = step, time.monotonic()
        self.since, self.waited = self.began, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        asked = time.monotonic()
        yield
        self.waited += time.monotonic() - asked

    def read(self) -> dict[str, float]:
        """{"data_wait": share, "seconds": …} since the last reading."""
        now = time.monotonic()
        seconds = now - self.since
        found = {"data_wait": round(self.waited / max(seconds, 1e-9), 4), "seconds": round(seconds, 3)}
        self.since, self.waited = now, 0.0
        return found

    def speed(self, step: int) -> float:
        """Steps a second."""
        return (step - self.first) / max(time.monotonic() - self.began, 1e-9)
