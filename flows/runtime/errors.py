"""An error in one line, as people and the catalog are told of it."""

from __future__ import annotations

import os


def one_line(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, FileNotFoundError) and error.filename is None and working_folder() is None:
        return "the working folder is not there any more: change to one that is"
    return first_and_last(error)


def working_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def first_and_last(error: BaseException) -> str:
    """Its first line, and where that announces more (a worker's trace) the last as well; its name where it says nothing."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return f"{lines[0]} {lines[-1].strip()}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
