"""Ctrl-C and SIGTERM end a run in good order and in bounded time: what it started ends with it.

The signal raises in the body, whose `finally`s end Ray and servers. Should that hang, all descendants are killed after
`PATIENCE` seconds and the process ends; a second Ctrl-C does so at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from codi2_datasets import engine

PATIENCE = 12.0  # seconds from the signal until what still runs is killed
Handler = Callable[[int, FrameType | None], object] | int | None


class Stopping:
    """Whether a signal came, and which."""

    def __init__(self, at_last: Callable[[], None] = lambda: None) -> None:
        self.signal: int | None = None
        self.at_last = at_last  # called before the process is ended by force
        self.before: dict[int, Handler] = {}
        self.timer: threading.Timer | None = None

    @property
    def reason(self) -> str:
        if self.signal == signal.SIGINT:
            return "stopped by Ctrl-C"
        return f"stopped by {signal.Signals(self.signal).name}" if self.signal else "stopped"

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if number == signal.SIGINT:
                self.force()
            return  # it is stopping already
        self.signal = number
        engine.stopping.set()
        self.timer = threading.Timer(PATIENCE, self.force)
        self.timer.daemon = True
        self.timer.start()
        before = self.before.get(number)
        if callable(before):
            before(number, frame)  # Prefect's, which knows whether it was asked to cancel
        raise KeyboardInterrupt(self.reason)

    def force(self) -> None:
        """End everything now."""
        family = psutil.Process().children(recursive=True)
        for child in family:
            with suppress(psutil.Error):
                child.kill()
        print("codi2: did not stop by itself, ended by force", file=sys.stderr, flush=True)
        last = threading.Thread(target=self.at_last, daemon=True)
        last.start()
        last.join(2.0)
        os._exit(1)


@contextmanager
def stoppable(at_last: Callable[[], None] = lambda: None) -> Iterator[Stopping]:
    """Signals end the body. `at_last` is called where it must be ended by force. Outside of the main thread nothing is done."""
    stopping = Stopping(at_last)
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        stopping.before[number] = signal.signal(number, stopping.handle)
    try:
        yield stopping
    finally:
        for one, handler in stopping.before.items():
            signal.signal(one, handler)
        if stopping.timer is not None:
            stopping.timer.cancel()
        engine.stopping.clear()
