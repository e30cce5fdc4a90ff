"""Metrics of a run: rows in metrics.jsonl, points in trackers and progress messages.

Rows: {"stage", "step", "split": "train" | "validation", losses and scores by name, "lr", "data_wait", "seconds"}.
`seconds` (wall time since the previous row) and `data_wait` (the fraction of it spent waiting for samples) are the only
values that differ between two equal runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codi2_model.tracking import Point, Trackers
from codi2_model.training.config import STAGES
from codi2_storage.locations.files import write_whole

Row = dict[str, Any]
UNREPEATABLE = ("seconds", "data_wait")
NOT_VALUES = ("stage", "step", "split", "n")


def read_rows(path: Path) -> list[Row]:
    """Rows of a metrics file, without a last line that is incomplete after a kill."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class Journal:
    """Writes metrics and prints progress. `path`: metrics.jsonl on rank 0; None on other ranks, which write nothing."""

    def __init__(
        self,
        path: Path | None,
        on_metrics: Callable[[Row], None] | None = None,
        quiet: bool = False,
        trackers: Trackers | None = None,
    ) -> None:
        self.path, self.on_metrics, self.quiet = path, on_metrics, quiet
        self.trackers = trackers or Trackers()
        self._last_printed = 0.0

    def rewind(self, stage: str, step: int) -> None:
        """Remove rows after a step, which a resumed run writes again."""
        if self.path is None:
            return
        end = (STAGES.index(stage), step)
        kept = [row for row in read_rows(self.path) if (STAGES.index(row["stage"]), row["step"]) <= end]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.trackers.rewind([point_of(row) for row in kept])

    def write(self, row: Row) -> None:
        """Append a row to the file, pass it to the trackers and to `on_metrics`."""
        if self.path is None:
            return
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.trackers.log(point_of(row))
        if self.on_metrics is not None:
            self.on_metrics(row)

    def print(self, text: str, every: float = 0.0) -> None:
        """Print to stderr; with `every`, only if that many seconds have passed since the last message."""
        if self.path is None or self.quiet:
            return
        now = time.monotonic()
        if every and now - self._last_printed < every:
            return
        self._last_printed = now
        print(text, file=sys.stderr, flush=True)


def point_of(row: Row) -> Point:
    """The numbers of a row, named STAGE/SPLIT/NAME."""
    values = {
        f"{row['stage']}/{row['split']}/{name}": value
        for name, value in row.items()
        if name not in NOT_VALUES and isinstance(value, int | float)
    }
    return Point(row["step"], values)


def losses_text(row: Row) -> str:
    """Losses and scores of a row for a progress message: 'loss 1.234 tokens 0.5'."""
    hidden = ("stage", "step", "split", "lr", "n", "grad_norm", *UNREPEATABLE)
    return " ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in hidden and isinstance(v, int | float))
