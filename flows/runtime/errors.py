"""Errors as one line, for the terminal and the catalog."""

from __future__ import annotations

import os


def one_line(error: BaseException) -> str:
    """An error as one line."""
    if isinstance(error, FileNotFoundError) and error.filename is None and working_folder() is None:
        return "the working folder was deleted: change to an existing one"
    return first_and_last(error)


def working_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def first_and_last(error: BaseException) -> str:
    """The first line of the message; if it ends with a colon (before a worker's traceback), also the last one.

    An empty message gives the name of the error's class.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return f"{lines[0]} {lines[-1].strip()}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
