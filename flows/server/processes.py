"""The processes of a server: restarted if they end, and ended together with all their descendants."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from codi2_storage.host import child_processes

ADOPT = 36  # PR_SET_CHILD_SUBREAPER of Linux's <sys/prctl.h>


@dataclass
class Child:
    """A child process that can be started again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process. It ends if this process is killed."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = child_processes.start(
                self.command, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        child_processes.end_after_us(self.process)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ended(self) -> bool:
        return self.process is not None and not self.running

    def end(self, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL if the process has not ended after so many seconds."""
        if self.process is not None:
            child_processes.end(self.process, seconds)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, as Linux allows, so that `descendants` has all of them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)


def descendants() -> dict[psutil.Process, int]:
    """Every process that descends from this one with its parent's pid, except watchers."""
    parents = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            if not child_processes.is_watcher(process.pid):
                parents[process] = process.ppid()
    return parents


def reap_orphans(own: Collection[int]) -> None:
    """Collect the exit status of adopted processes, which remain zombies until then. `own`: pids with a waiting parent."""
    for process in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if process.pid not in own and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def end_all(processes: Collection[psutil.Process], seconds: float) -> None:
    """Send SIGTERM, and SIGKILL to processes that have not ended after so many seconds."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
