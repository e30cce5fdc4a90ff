"""Broken pipe guard: a run continues if the reader of its output ends, such as a killed Prefect worker.

Without it Python raises BrokenPipeError, and rich, which Prefect logs through, ends the whole process.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def broken_pipe_guard() -> Iterator[None]:
    """If standard output or error is a pipe and its reader ends, redirect it to /dev/null."""
    pipes = [number for number in (1, 2) if is_pipe(number)]
    if not pipes:
        yield
        return
    stop, stop_writer = os.pipe()
    thread = threading.Thread(target=watch_readers, args=(pipes, stop), name="codi2-readers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(stop_writer, b".")
        thread.join()
        os.close(stop_writer)
        os.close(stop)


def is_pipe(number: int) -> bool:
    try:
        mode = os.fstat(number).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def watch_readers(pipes: list[int], stop: int) -> None:
    """Redirect pipes to /dev/null when their readers end, until `stop` becomes readable."""
    poll = select.poll()
    poll.register(stop, select.POLLIN)
    for number in pipes:
        poll.register(number, 0)  # POLLERR, for a closed reader, is always reported
    while True:
        for number, _ in poll.poll():
            if number == stop:
                return
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            poll.unregister(number)
