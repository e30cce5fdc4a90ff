"""Processes that a test started, by what they call themselves."""

from __future__ import annotations

from contextlib import suppress

import psutil


def descendants(pid: int, name: str) -> list[int]:
    """Pids of the processes that descend from one and whose command holds `name`."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if name in " ".join(process.cmdline()):
                found.append(process.pid)
    return found
