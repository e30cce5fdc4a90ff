"""In-memory store of replies, so that clients can refer to audio, items and responses by id."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SECONDS = 3600  # time to live of an entry
CHARACTERS = 64 * 1024 * 1024  # maximum of characters in all entries

Kept = list[dict[str, Any]]


class ResponseStore:
    """Parts of messages or items of responses by id. The oldest are evicted if there are too many. Thread-safe."""

    def __init__(
        self, seconds: float = SECONDS, characters: int = CHARACTERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds, self.characters, self.clock = seconds, characters, clock
        self._kept: OrderedDict[str, tuple[float, int, Kept]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, identity: str, parts: Sequence[dict[str, Any]]) -> None:
        size = characters_of(parts)
        with self._lock:
            self._size -= self._kept.pop(identity, (0, 0, []))[1]
            self._kept[identity] = (self.clock() + self.seconds, size, list(parts))
            self._size += size
            while self._kept and (self._size > self.characters or self._expired()):
                self._size -= self._kept.popitem(last=False)[1][1]

    def _expired(self) -> bool:
        return next(iter(self._kept.values()))[0] < self.clock()

    def __call__(self, identity: str) -> Kept | None:
        """The entry of the id; None if there is none or it has expired."""
        with self._lock:
            entry = self._kept.get(identity)
            return None if entry is None or entry[0] < self.clock() else entry[2]


def characters_of(value: Any) -> int:
    """The number of characters of all strings in a value, at any depth; 8 for every other value."""
    count, pending = 0, [value]
    while pending:
        item = pending.pop()
        count += len(item) if isinstance(item, str) else 8
        if isinstance(item, Mapping):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            pending += item
    return count
