"""Which process on which machine: told apart without names, so that a lease can tell whether its holder still lives."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Process:
    """`machine`: hash of the boot and the process namespace (two containers of one host see different processes)."""

    machine: str
    pid: int
    started: str

    @property
    def here(self) -> bool:
        """It ran where we run, so that we can tell whether it still does."""
        return self.machine == machine()

    @property
    def gone(self) -> bool:
        """It ran here and has ended. False where we cannot know."""
        return self.here and started(self.pid) != self.started


def this_process() -> Process:
    pid = os.getpid()
    return Process(machine(), pid, started(pid) or "")


@cache
def machine() -> str:
    """The same for all processes that see each other's pids, and for no others; another one after a reboot."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        marks = [linux.read_text(encoding="utf-8").strip(), os.readlink("/proc/self/ns/pid")]
    else:
        marks = [platform.node(), str(psutil.boot_time())]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]


def started(pid: int) -> str | None:
    """When a process of this machine began, in units that only compare; None where none of that pid lives."""
    stat = Path(f"/proc/{pid}/stat")
    if Path(
        "/proc/self/stat"
    ).exists():  # ticks since boot: a clock that is set does not move them, psutil's time it does
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]  # a zombie has ended
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else str(found.create_time())
    except psutil.Error:
        return None
