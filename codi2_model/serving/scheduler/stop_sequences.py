"""Stop sequences: cuts the text of a reply before the first one, also if it is spread over several deltas."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes on the text of a reply, except an end that may become a stop sequence."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = stops
        self.stopped = False
        self._pending = ""

    def take(self, text: str) -> str:
        """Add text. Returns the text that can be sent; nothing after `stopped`."""
        if self.stopped:
            return ""
        whole = self._pending + text
        positions = [position for stop in self.stops if (position := whole.find(stop)) >= 0]
        if positions:
            self.stopped, self._pending = True, ""
            return whole[: min(positions)]
        kept = max((_overlap(whole, stop) for stop in self.stops), default=0)
        self._pending = whole[len(whole) - kept :]
        return whole[: len(whole) - kept]

    def flush(self) -> str:
        """The text that was kept back and did not become a stop sequence."""
        rest, self._pending = self._pending, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """The length of the longest proper prefix of the stop sequence that the text ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
