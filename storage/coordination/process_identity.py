"""Identifies a process and its machine without host names, so that a lease can check whether its holder is alive."""

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
    """`machine`: hash of the boot id and the process namespace (two containers of one host see different processes)."""

    machine: str
    pid: int
    started: str

    @property
    def here(self) -> bool:
        """Whether it ran on this machine, so that this process can check whether it is alive."""
        return self.machine == machine()

    @property
    def gone(self) -> bool:
        """Whether it ran on this machine and has ended. False if that cannot be checked from here."""
        return self.here and started(self.pid) != self.started


def this_process() -> Process:
    pid = os.getpid()
    return Process(machine(), pid, started(pid) or "")


@cache
def machine() -> str:
    """An id shared by all processes that see each other's pids, and by no others. It changes on a reboot."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        marks = [linux.read_text(encoding="utf-8").strip(), os.readlink("/proc/self/ns/pid")]
    else:
        marks = [platform.node(), str(psutil.boot_time())]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]


def started(pid: int) -> str | None:
    """The start time of a process on this machine, in units good for comparison only; None if no such process is alive."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():  # ticks since boot do not change when the clock is set; psutil's time does
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]  # a zombie has ended
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None
