"""Processes that we start: each in a session of its own, so that what a terminal sends reaches us alone and we end them in order.

Ctrl-C in a terminal sends SIGINT to the whole foreground process group. A child that shares our group would end at the same
moment as we begin to, while we still need it (a temporary server that is to hear how a run ended, say).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

OWN_CODE = {
    "PYTHONSAFEPATH": "1"
}  # in the environment of `python -m`: modules are ours, no files of the working folder
# $0: the process to wait for; $1: the one to end once that is gone
WAIT = 'while kill -0 "$0" 2>/dev/null; do sleep 1; done; kill "$1" 2>/dev/null'
_watchers: set[int] = set()  # pids of shells that outlive us on purpose


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen` in a session of its own."""
    return subprocess.Popen(command, start_new_session=True, **options)


def run(command: Sequence[str], timeout: float | None = None, **options: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run(capture_output=True)` in a session of its own. Whatever ends the wait early ends the whole session."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(command, **(quiet | options)) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def watch(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A shell that waits for this process to be gone ($0), even killed, and then cleans up after it."""
    quiet = subprocess.DEVNULL
    bare = {"PATH": os.environ.get("PATH", os.defpath)}
    command = ["/bin/sh", "-c", script, str(os.getpid()), *arguments]
    shell = start(command, env=bare, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/")
    _watchers.add(shell.pid)
    return shell


def end_after_us(process: subprocess.Popen[Any]) -> subprocess.Popen[bytes]:
    """See that a process ends where we are killed and cannot end it. Returns the shell that watches."""
    return watch(WAIT, str(process.pid))


def end(process: subprocess.Popen[Any], seconds: float) -> None:
    """SIGTERM, and SIGKILL where it is still there after so many seconds."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_watcher(pid: int) -> bool:
    return pid in _watchers
