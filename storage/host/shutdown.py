"""Shutdown on Ctrl-C, SIGTERM or SIGHUP: ends this process and its children in order and in bounded time.

The signal raises KeyboardInterrupt in the main thread, whose `finally` blocks stop Ray and servers. After `PATIENCE`
seconds whatever still runs is killed with all descendants; a second Ctrl-C does so at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import psutil

from codi2_storage.host.child_processes import is_watcher

SECONDS = "CODI2_STOP_SECONDS"  # environment variable: seconds from the signal to the kill, in place of PATIENCE
PATIENCE = 7.0
AGAIN = 0.5  # seconds between two checks whether the main thread is unwinding
LAST_WORDS = 1.5  # seconds that recording a forced end may take
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], object] | int | None
requested = threading.Event()  # set when the process is asked to end: then nothing in flight is waited for
_process: Stopping | None = None  # the one that `listen` made


class Stopping:
    """Whether a signal came, and which. `at_last`: functions called before the process is ended by force."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.at_last: list[Callable[[], None]] = []
        self.patience = float(os.environ.get(SECONDS) or PATIENCE)
        self.before: dict[int, Handler] = {}
        self.ended = threading.Event()
        self.heard = False  # the code that ends things has the signal
        self.lost = False  # its exception was swallowed on the way
        self.said = False

    @property
    def reason(self) -> str:
        if self.signal == signal.SIGINT:
            return "stopped by Ctrl-C"
        return f"stopped by {signal.Signals(self.signal).name}" if self.signal else "stopped"

    def say(self, line: str) -> None:
        """Print one line on stderr, once for the whole shutdown."""
        self.heard = True
        if not self.said:
            self.said = True
            cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar may have hidden the cursor
            with suppress(OSError, ValueError):  # stderr is closed
                print(f"{cursor}{line}", file=sys.stderr, flush=True)

    def install(self) -> dict[int, Handler]:
        """Handle the signals from now on. Returns the previous handlers, for `restore`."""
        before: dict[int, Handler] = {}
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # under nohup
            before[number] = signal.signal(number, self.handle)
            if before[number] not in (self.handle, signal.default_int_handler):
                self.before[number] = before[number]
        return before

    def restore(self, before: dict[int, Handler]) -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
            self.before.pop(number, None)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if self.lost:
                self.lost = False
                raise KeyboardInterrupt(self.reason)
            if number == signal.SIGINT:
                self.force()
            return  # already stopping
        self.signal = number
        requested.set()
        threading.Thread(target=self.enforce, daemon=True).start()
        raise KeyboardInterrupt(self.reason)  # the only exception that Ray lets through while it waits

    def enforce(self) -> None:
        """Raise the interrupt again if it was swallowed; end by force what does not end in time."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            if self.ended.wait(AGAIN):
                return
            if not self.heard and not unwinding():
                self.lost = True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self.force()

    def wait(self) -> None:
        """Block until a signal comes: the normal end of a server without other work in its main thread."""
        try:
            while True:
                time.sleep(3600)
        except BaseException:
            if self.signal is None:
                raise
            self.heard = True

    def force(self) -> None:
        """Kill all children and exit at once."""
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if not is_watcher(child.pid):
                    child.kill()
        self.say("codi2: stopped; what did not end by itself was ended by force")
        last = threading.Thread(target=self._last_words, daemon=True)
        last.start()
        last.join(LAST_WORDS)
        os._exit(1)

    def _last_words(self) -> None:
        for call in reversed(self.at_last):
            with suppress(Exception):
                call()


def listen() -> Stopping:
    """From now on, signals end this process in bounded time. For the main function of a command."""
    global _process
    _process = Stopping()
    _process.install()
    sys.unraisablehook = quiet
    return _process


def quiet(ignored: sys.UnraisableHookArgs) -> None:
    """Hide KeyboardInterrupt in destructors and weak-reference callbacks, where Python ignores and prints exceptions."""
    if not isinstance(ignored.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)


def unwinding() -> bool:
    """Whether the main thread is unwinding: in a `finally` or `except` that the signal's exception led to."""
    handled = sys._current_exceptions().get(threading.main_thread().ident or 0)
    error: Any = handled[1] if isinstance(handled, tuple) else handled
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def leave(status: int) -> NoReturn:
    """End the program: threads are joined and exit handlers run, but modules are not torn down one by one."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the stream is closed
            stream.flush()
    os._exit(status)


@contextmanager
def stoppable(at_last: Callable[[], None] = lambda: None) -> Iterator[Stopping]:
    """Let signals end the body. `at_last` is called if it must be ended by force. No effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield Stopping()
        return
    stopping = _process or Stopping()
    stopping.at_last.append(at_last)
    before = stopping.install()  # Prefect or Ray may have replaced this program's handlers
    try:
        yield stopping
    except KeyboardInterrupt:
        number = stopping.signal or 0
        if callable(handler := stopping.before.get(number)):
            handler(
                number, None
            )  # Prefect's handler checks whether a cancellation was requested and raises what Prefect expects
        raise
    finally:
        stopping.restore(before)
        stopping.at_last.remove(at_last)
        if stopping is not _process:
            stopping.ended.set()
            requested.clear()
