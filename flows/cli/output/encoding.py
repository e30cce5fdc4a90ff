"""Set-up of the standard streams and of UTF-8 mode.

File names and texts are UTF-8 in every locale. Otherwise Python would decode file names with the locale's encoding, and
DuckDB, Arrow and Ray, which expect UTF-8, would open other files. Characters that the terminal cannot show are escaped.
"""

from __future__ import annotations

import io
import locale
import os
import sys

STREAMS = "CODI2_STREAM_ENCODING"  # passes the terminal's encoding to the process that is started in UTF-8 mode


def open_streams() -> None:
    """Open closed standard streams on /dev/null; otherwise files that are opened later would take their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def use_utf8() -> None:
    """Restart this program in Python's UTF-8 mode if the locale is not UTF-8. Child processes inherit the mode."""
    if sys.flags.utf8_mode or locale.getencoding().lower().replace("-", "") == "utf8":
        set_streams(os.environ.pop(STREAMS, None))
        return
    environment = {**os.environ, "PYTHONUTF8": "1", STREAMS: sys.stdout.encoding if sys.stdout else "ascii"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def set_streams(encoding: str | None) -> None:
    """Set the encoding of standard output and error (None: unchanged), with escapes for characters that it lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
