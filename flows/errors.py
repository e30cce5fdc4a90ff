"""An error in one line, as people and the catalog are told of it."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """Its first line, and where that announces more (a worker's trace) the last as well; its name where it says nothing."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return f"{lines[0]} {lines[-1].strip()}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
