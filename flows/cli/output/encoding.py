"""Standard streams that are there, and UTF-8: names of files and texts are UTF-8 whatever the locale says; what a terminal of another encoding lacks is shown escaped.

Under a locale of another encoding Python decodes names of files as that: DuckDB, Arrow and Ray, which take UTF-8, would then
open other files.
"""

from __future__ import annotations

import io
import locale
import os
import sys

STREAMS = "CODI2_STREAM_ENCODING"  # from the process that found another encoding to the one that takes its place


def open_streams() -> None:
    """Streams that whoever started this program closed lead nowhere: else files that are opened later take their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def use_utf8() -> None:
    """Start this program once more in Python's UTF-8 mode, where it does not run so already. Children inherit the mode."""
    if sys.flags.utf8_mode or locale.getencoding().lower().replace("-", "") == "utf8":
        set_streams(os.environ.pop(STREAMS, None))
        return
    environment = {**os.environ, "PYTHONUTF8": "1", STREAMS: sys.stdout.encoding if sys.stdout else "ascii"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def set_streams(encoding: str | None) -> None:
    """Standard output and error in this encoding, None for the one they have. What it lacks is written as Python escapes it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
