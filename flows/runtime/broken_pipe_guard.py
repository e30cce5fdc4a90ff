"""A run outlives whoever reads what it prints: of a Prefect worker that is killed, the runs go on.

Python raises BrokenPipeError where nobody reads any more, and rich, through which Prefect logs, ends the whole process.
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
    """Where standard output or error is a pipe and its reader ends, what is printed from then on goes nowhere."""
    pipes = [number for number in (1, 2) if is_pipe(number)]
    if not pipes:
        yield
        return
    wake, awake = os.pipe()
    thread = threading.Thread(target=watch, args=(pipes, wake), name="codi2-readers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(awake, b".")
        thread.join()
        os.close(awake)
        os.close(wake)


def is_pipe(number: int) -> bool:
    try:
        mode = os.fstat(number).st_mode
    except OSError:  # it is closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def watch(pipes: list[int], wake: int) -> None:
    """Put nobody in the place of readers that end, until something comes by `wake`."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    for number in pipes:
        poll.register(number, 0)  # that its other end is closed is told without being asked for
    while True:
        for number, _ in poll.poll():
            if number == wake:
                return
            nobody = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nobody, number)
            os.close(nobody)
            poll.unregister(number)
