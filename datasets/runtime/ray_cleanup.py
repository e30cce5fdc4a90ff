"""Kills orphaned Ray processes: agents and workers that stay behind when a Ray head or driver is killed.

They are identified by the log files in Ray's folder that they hold open for writing. Their command lines and
environment are overwritten by Ray, and their parent processes are gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from codi2_storage.host.child_processes import watch

# Once process $0 is gone, kill every process that writes to files under $1, for ten seconds, because processes that
# were starting open their logs later; then remove $1, unless there is a $2.
WATCH = r"""
while kill -0 "$0" 2>/dev/null; do sleep 1; done
for round in 1 2 3 4 5; do
  sleep 2
  for process in $(ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v folder="-> $1/" '
    /^\/proc\// { split($0, parts, "/"); pid = parts[3] } /^l.w/ && index($0, folder) { print pid }'); do
    kill -9 "$process" 2>/dev/null
  done
done
[ -n "$2" ] || rm -rf "$1"
"""


@contextmanager
def reap_ray_processes(folder: Path) -> Iterator[None]:
    """Make sure that no process of the Ray in this folder outlives the block, or this process, even if it is killed.

    The folder is removed, except with --debug.
    """
    keep = bool(os.environ.get("CODI2_DEBUG"))
    shell = watch(WATCH, str(folder), "keep" if keep else "")
    try:
        yield
    finally:
        shell.kill()
        shell.wait()
        for process in writers(str(folder)):
            with suppress(psutil.Error):
                process.kill()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def writers(folder: str) -> list[psutil.Process]:
    """Processes other than this one that have a file under the folder open for writing."""
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or belongs to another user
            files = process.open_files() if process.pid != os.getpid() else []
            if any(file.path.startswith(f"{folder}/") and getattr(file, "mode", "w") != "r" for file in files):
                processes.append(process)
    return processes
