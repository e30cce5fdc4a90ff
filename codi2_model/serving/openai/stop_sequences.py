"""Stop sequences: a reply's text is cut before the first that comes, even where that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Lets the text of a reply through as it is written, all but what may still become a stop sequence."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = stops
        self.stopped = False
        self._held = ""

    def take(self, text: str) -> str:
        """What can be told of the text so far; once `stopped`, nothing more comes."""
        if self.stopped:
            return ""
        whole = self._held + text
        places = [place for stop in self.stops if (place := whole.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return whole[: min(places)]
        kept = max((_begun(whole, stop) for stop in self.stops), default=0)
        self._held = whole[len(whole) - kept :]
        return whole[: len(whole) - kept]

    def flush(self) -> str:
        """What was held: no stop sequence came of it."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, stop: str) -> int:
    """How many of the stop sequence's first characters the text ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
