"""Supervised child processes of a command: started, restarted if they end, and ended together with their descendants."""

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

MARK = (
    "CODI2_SERVER"  # environment variable of every process that descends from a server; its value identifies the server
)
RESTARTS, WINDOW = 5, 60.0  # more restarts than this within so many seconds raise RestartLimit


class RestartLimit(RuntimeError):
    """A process ended too often; the message names its log."""


@dataclass
class Child:
    """A child process that is restarted if it ends."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    watch: subprocess.Popen[bytes] | None = None
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS))

    def start(self) -> None:
        """Start the process, with a watcher that ends it if this process is killed."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = child_processes.start(
                self.command, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.stop_watcher()
        self.watch = child_processes.end_after_us(self.process)

    def stop_watcher(self) -> None:
        """End the watcher of the former process."""
        if self.watch is not None:
            self.watch.kill()
            self.watch.wait()
            self.watch = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def restart_if_ended(self) -> bool:
        """Restart the process if it ended. Returns whether it did. Raises RestartLimit if it ended too often."""
        if self.process is None or self.running:
            return False
        now = time.monotonic()
        if len(self.ends) == RESTARTS and now - self.ends[0] < WINDOW:
            raise RestartLimit(f"{self.name} ended {RESTARTS + 1} times within a minute; its log: {self.log}")
        self.ends.append(now)
        self.start()
        return True

    def terminate(self) -> None:
        if self.running:
            assert self.process is not None
            self.process.terminate()

    def end(self, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL if the process has not ended after so many seconds."""
        if self.process is None:
            return
        child_processes.end(self.process, seconds)
        self.stop_watcher()


def marked_processes(mark: str) -> set[psutil.Process]:
    """All processes but this one with the server's mark in their environment, including those whose parents ended.

    Some Ray processes overwrite their environment; those are found as descendants instead.
    """
    processes = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended, or belongs to another user
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                processes.add(process)
    return processes


def descendants(process: subprocess.Popen[bytes] | None) -> set[psutil.Process]:
    with suppress(psutil.Error):
        return set(psutil.Process(process.pid).children(recursive=True)) if process else set()
    return set()


def outermost(processes: Collection[psutil.Process]) -> list[psutil.Process]:
    """The processes whose parents are not in the collection."""
    pids = {process.pid for process in processes}
    roots = []
    for process in processes:
        with suppress(psutil.Error):
            if process.ppid() not in pids:
                roots.append(process)
    return roots


def end_all(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Send SIGTERM, and SIGKILL to processes that have not ended after so many seconds."""
    alive = list(processes)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=seconds)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
