"""What a Ray may leave when its head or its driver is killed: agents and workers that wait a minute for who is gone.

They are known by the logs in the Ray's folder, which they hold open to write: their environment and command lines are written
over by Ray, and their parents are gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from codi2_storage.host.child_processes import watch

# Once $0 is gone, kill all that writes to files under $1, for ten seconds, since what was starting opens its log later;
# then remove $1, unless there is a $2.
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
def swept(folder: Path) -> Iterator[None]:
    """See that nothing of the Ray whose files lie in this folder outlives the block, nor this process, even a killed one.

    The folder is removed, unless the command runs with --debug.
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
    """Processes that have a file under a folder open to write, ourselves left out."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile, or is another user's
            files = process.open_files() if process.pid != os.getpid() else []
            if any(file.path.startswith(f"{folder}/") and getattr(file, "mode", "w") != "r" for file in files):
                found.append(process)
    return found
