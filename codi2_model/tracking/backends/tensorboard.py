"""TensorBoard: event files in the folder `tensorboard` of the run, written by tensorboardX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi2_model.tracking.trackers import Point, TrackedRun, Tracker


class TensorBoard(Tracker):
    package = "tensorboardX"

    def __init__(self, run: TrackedRun) -> None:
        self.folder = (run.folder or Path("tensorboard") / run.run_id) / "tensorboard"
        self._writer: Any = None

    def log(self, point: Point) -> None:
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), flush_secs=10)
        for name, value in point.values.items():
            self._writer.add_scalar(name, value, point.step)

    def rewind(self, kept: Sequence[Point]) -> None:
        """Replace all events by those of the points."""
        self.close(True)
        for old in self.folder.glob("events.*"):
            old.unlink()
        for point in kept:
            self.log(point)

    def close(self, finished: bool) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


TRACKER = TensorBoard
