"""What a Ray may leave when its head or its driver is killed: agents and workers that wait a minute for who is gone.

They are known by the logs of the Ray's session, which they hold open to write: their environment and command lines are written
over by Ray, and their parents are gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from codi2_storage.children import watch

# Once $0 is gone: all that writes to files under $1, for ten seconds, since what was starting opens its log later.
WATCH = """
while kill -0 "$0" 2>/dev/null; do sleep 1; done
for round in 1 2 3 4 5; do
  sleep 2
  for process in /proc/[0-9]*; do
    ls -l "$process/fd" 2>/dev/null | grep -q "^l.w.* -> $1/" && kill -9 "${process#/proc/}" 2>/dev/null
  done
done
"""


@contextmanager
def swept(session: str) -> Iterator[None]:
    """See that nothing of the Ray of this session folder outlives the block, nor this process, even a killed one."""
    shell = watch(WATCH, session)
    try:
        yield
    finally:
        shell.kill()
        shell.wait()
        for process in writers(session):
            with suppress(psutil.Error):
                process.kill()


def writers(folder: str) -> list[psutil.Process]:
    """Processes that have a file under a folder open to write, ourselves left out."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile, or is another user's
            files = process.open_files() if process.pid != os.getpid() else []
            if any(file.path.startswith(f"{folder}/") and getattr(file, "mode", "w") != "r" for file in files):
                found.append(process)
    return found
