"""Long-running processes that belong to one command: started, kept running, and ended with it, whatever they started."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from codi2_storage.host import child_processes

MARK = "CODI2_SERVER"  # in the environment of every process that descends from a server; its value names the server
RESTARTS, WINDOW = 5, 60.0  # a process that ends more often than that within seconds is given up


class RestartLimit(RuntimeError):
    """A process ends again and again; the message names its log."""


@dataclass
class Child:
    """A process that is started again where it ends."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    watch: subprocess.Popen[bytes] | None = None
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS))

    def start(self) -> None:
        """Start it, and see that it ends where we are killed and cannot end it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = child_processes.start(
                self.command, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.forget()
        self.watch = child_processes.end_after_us(self.process)

    def forget(self) -> None:
        """End who watches over an earlier process of ours."""
        if self.watch is not None:
            self.watch.kill()
            self.watch.wait()
            self.watch = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def keep(self) -> bool:
        """Start it again where it ended. Returns whether that was so. Raises RestartLimit where it ends too often."""
        if self.process is None or self.running:
            return False
        now = time.monotonic()
        if len(self.ends) == RESTARTS and now - self.ends[0] < WINDOW:
            raise RestartLimit(f"{self.name} ended {RESTARTS + 1} times within a minute; what it said: {self.log}")
        self.ends.append(now)
        self.start()
        return True

    def ask_to_end(self) -> None:
        if self.running:
            assert self.process is not None
            self.process.terminate()

    def end(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL to what is still there after so many seconds."""
        if self.process is None:
            return
        child_processes.end(self.process, seconds)
        self.forget()


def marked(mark: str) -> set[psutil.Process]:
    """Processes that carry a server's mark in their environment, ourselves left out: also those whose parents are gone.

    Some of Ray's write their names over theirs: those are known by whose descendants they were.
    """
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile, or is another user's
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.add(process)
    return found


def descendants(process: subprocess.Popen[bytes] | None) -> set[psutil.Process]:
    with suppress(psutil.Error):
        return set(psutil.Process(process.pid).children(recursive=True)) if process else set()
    return set()


def outermost(processes: Collection[psutil.Process]) -> list[psutil.Process]:
    """Those whose parents are not among them."""
    pids = {process.pid for process in processes}
    found = []
    for process in processes:
        with suppress(psutil.Error):
            if process.ppid() not in pids:
                found.append(process)
    return found


def end_all(processes: Iterable[psutil.Process], seconds: float) -> None:
    """SIGTERM, and SIGKILL to those that are still there after so many seconds."""
    alive = list(processes)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=seconds)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
