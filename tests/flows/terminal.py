"""A command in a terminal of its own, as a user runs it: what it shows, keys that are pressed, and what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import psutil


class Terminal:
    """`codi2 ...` as the foreground process group of a pseudo terminal."""

    def __init__(self, *arguments: str, folder: Path, program: Sequence[str] = ("-m", "codi2_flows.cli.main")) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "CODI2_GRAPHICS": "none"}
        environment.pop("RAY_ADDRESS", None)

        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background

        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments], cwd=folder, env=environment,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(slave)
        self.screen = ""

    def read(self, seconds: float) -> bool:
        """Take in what is shown within so many seconds, as soon as there is anything."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            self.screen += os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # nobody has the terminal open any more
            return False
        return True

    def wait_for(self, pattern: str, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.screen):
            assert time.monotonic() < end and self.process.poll() is None, f"never showed {pattern!r}: {self.screen}"
            self.read(0.2)

    def stop(self, how: str) -> tuple[float, list[str]]:
        """Ctrl-C, SIGTERM or the window closed: the seconds until it was gone, and the lines that it showed on the way."""
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        before, start = len(self.screen), time.monotonic()
        if how == "ctrl-c":
            os.write(self.master, b"\x03")
        else:
            self.process.send_signal(signal.Signals[how])
        while self.process.poll() is None:
            assert time.monotonic() < start + 60, f"still there: {self.screen[before:]}"
            self.read(0.1)
        seconds = time.monotonic() - start
        while self.read(0.2):
            pass
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\^C", "", self.screen[before:])
        lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
        return seconds, [line for line in lines if not re.search("[━╸]|^train ", line)]  # progress

    def left_behind(self, seconds: float = 15.0) -> list[str]:
        """What descended from it and is still there; watchers of ours need seconds to see that it is gone."""
        _, alive = psutil.wait_procs(self.family, timeout=seconds)
        return [" ".join(one.cmdline()) for one in alive if one.is_running()]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
