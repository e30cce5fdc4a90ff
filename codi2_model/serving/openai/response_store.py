"""What was said, kept for a while by an id: clients send back the id of audio, of an item or of a response instead of the thing."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SECONDS = 3600  # that something is kept
CHARACTERS = 64 * 1024 * 1024  # of the strings of all that is kept, at most

Kept = list[dict[str, Any]]


class ResponseStore:
    """Parts of messages, or items of responses, by ids; the oldest go where they take too much memory. Safe for threads."""

    def __init__(
        self, seconds: float = SECONDS, characters: int = CHARACTERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds, self.characters, self.clock = seconds, characters, clock
        self._kept: OrderedDict[str, tuple[float, int, Kept]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, identity: str, said: Sequence[dict[str, Any]]) -> None:
        size = characters_of(said)
        with self._lock:
            self._size -= self._kept.pop(identity, (0, 0, []))[1]
            self._kept[identity] = (self.clock() + self.seconds, size, list(said))
            self._size += size
            while self._kept and (self._size > self.characters or self._expired()):
                self._size -= self._kept.popitem(last=False)[1][1]

    def _expired(self) -> bool:
        return next(iter(self._kept.values()))[0] < self.clock()

    def __call__(self, identity: str) -> Kept | None:
        """What is kept under the id; None where nothing is, or no longer."""
        with self._lock:
            found = self._kept.get(identity)
            return None if found is None or found[0] < self.clock() else found[2]


def characters_of(value: Any) -> int:
    """Of all strings in a value, however deep, and a few for everything else."""
    count, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        count += len(one) if isinstance(one, str) else 8
        if isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
    return count
