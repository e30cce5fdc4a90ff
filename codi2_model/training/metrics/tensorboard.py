"""TensorBoard output: metrics of a run as scalars STAGE/SPLIT/NAME over the steps of the stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NOT_SCALARS = ("stage", "step", "split", "n")


class Board:
    """Writes TensorBoard events into `folder`. Without tensorboardX, `writing` is False and nothing is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        try:
            import tensorboardX  # noqa: F401

            self.writing = True
        except ImportError:
            self.writing = False

    def rewrite(self, rows: list[dict[str, Any]]) -> None:
        """Replace all events by those of the rows that a resumed run keeps."""
        for old in self.folder.glob("events.*"):
            old.unlink()
        for row in rows:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        """Write the scalars of a row."""
        if not self.writing:
            return
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), flush_secs=10)
        for name, value in row.items():
            if name not in NOT_SCALARS and isinstance(value, int | float):
                self._writer.add_scalar(f"{row['stage']}/{row['split']}/{name}", value, row["step"])

    def close(self) -> None:
        """Flush and close the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
