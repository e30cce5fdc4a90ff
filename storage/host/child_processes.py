"""Child processes in sessions of their own, so that Ctrl-C reaches this process alone, which then ends them in order.

Ctrl-C in a terminal sends SIGINT to the whole foreground process group. A child in the same group would end at the same
moment, while it is still needed (for example a temporary server that records how a run ended).
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
}  # environment for `python -m`: modules come from the installation, not from the working directory
# $0: the process to wait for; $1: the one to end after it
WAIT = 'while kill -0 "$0" && kill -0 "$1"; do sleep 1; done 2>/dev/null; kill "$1" 2>/dev/null'
_watchers: set[int] = set()  # pids of shells that outlive this process on purpose


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen` in a session of its own."""
    return subprocess.Popen(command, start_new_session=True, **options)


def run(command: Sequence[str], timeout: float | None = None, **options: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run(capture_output=True)` in a session of its own.

    If the wait ends early, the whole session is killed.
    """
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
    """Start a shell that waits until this process ($0) is gone, even if killed, and then runs the script."""
    quiet = subprocess.DEVNULL
    bare = {"PATH": os.environ.get("PATH", os.defpath)}
    command = ["/bin/sh", "-c", script, str(os.getpid()), *arguments]
    shell = start(command, env=bare, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/")
    _watchers.add(shell.pid)
    return shell


def end_after_us(process: subprocess.Popen[Any]) -> None:
    """Make sure that a process ends even if this one is killed."""
    watch(WAIT, str(process.pid))


def end(process: subprocess.Popen[Any], seconds: float) -> None:
    """Send SIGTERM, then SIGKILL if it still runs after `seconds` seconds."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_line(output: str) -> str:
    """The last line of a process's output that is not empty; '' if there is none."""
    return output.strip().rpartition("\n")[2].strip()


def is_watcher(pid: int) -> bool:
    return pid in _watchers
