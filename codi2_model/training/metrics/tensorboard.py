"""The rows of a run as TensorBoard's scalars: STAGE/SPLIT/NAME over the steps of the stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STILL = ("stage", "step", "split", "n")


class Board:
    """Writes into `folder`; a machine without tensorboardX trains as well, and then `writing` is False."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        try:
            import tensorboardX  # noqa: F401

            self.writing = True
        except ImportError:
            self.writing = False

    def rewrite(self, rows: list[dict[str, Any]]) -> None:
        """Begin again with the rows that a resumed run keeps."""
        for old in self.folder.glob("events.*"):
            old.unlink()
        for row in rows:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        if not self.writing:
            return
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), flush_secs=10)
        for name, value in row.items():
            if name not in STILL and isinstance(value, int | float):
                self._writer.add_scalar(f"{row['stage']}/{row['split']}/{name}", value, row["step"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
