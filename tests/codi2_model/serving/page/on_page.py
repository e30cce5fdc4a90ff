"""What the tests of the page share: keys, what to wait for, what the server was sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ENTER, ESCAPE, TAB, BACKSPACE = ("Enter", 13), ("Escape", 27), ("Tab", 9), ("Backspace", 8)
WHOLE = "document.querySelectorAll('.turn.assistant:not(.wait)').length === {}"
CHIPS = "document.querySelectorAll('#text .chip').length === {}"
SECOND = "document.querySelector('.tools.assistant')?.textContent.includes('2 / 2')"


def screenshot(page: Any, name: str) -> None:
    """Keep what the page looks like, where CODI2_SCREENSHOTS names a folder."""
    if folder := os.environ.get("CODI2_SCREENSHOTS"):
        page.screenshot(Path(folder) / name)


def sent(echo: Any) -> list[str]:
    """The last message's parts: words, and kinds of media."""
    return [part.get("text") or part["type"] for part in echo.seen[-1].messages[-1]["content"]]
