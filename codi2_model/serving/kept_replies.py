"""Replies that hold audio, kept for a while by the id of that audio: clients send the id back instead of the audio."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

SECONDS = 3600  # that a reply is kept
CHARACTERS = 64 * 1024 * 1024  # of the JSON of all kept replies, at most


class KeptReplies:
    """The latest replies by the ids of their audio; the oldest go where they take too much memory. Safe for threads."""

    def __init__(
        self, seconds: float = SECONDS, characters: int = CHARACTERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds, self.characters, self.clock = seconds, characters, clock
        self._kept: OrderedDict[str, tuple[float, int, list[dict[str, Any]]]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, identity: str, parts: Sequence[dict[str, Any]]) -> None:
        size = sum(len(str(part)) for part in parts)
        with self._lock:
            self._kept[identity] = (self.clock() + self.seconds, size, list(parts))
            self._size += size
            while self._kept and (self._size > self.characters or self._expired()):
                self._size -= self._kept.popitem(last=False)[1][1]

    def _expired(self) -> bool:
        return next(iter(self._kept.values()))[0] < self.clock()

    def __call__(self, identity: str) -> list[dict[str, Any]] | None:
        """The parts of the reply; None where it is not, or no longer, kept."""
        with self._lock:
            found = self._kept.get(identity)
            return None if found is None or found[0] < self.clock() else found[2]
