"""What Tab completes in the terminal chat: commands, and paths behind the commands that take one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import escape, glob
from pathlib import Path


def completions(line: str, word: str, commands: Sequence[str], with_path: Sequence[str]) -> list[str]:
    """What `word`, the last of `line`, may become; folders end in a slash."""
    if not line.startswith("/"):
        return []
    name, blank, _ = line[1:].partition(" ")
    if not blank:
        return [f"/{command} " for command in commands if command.startswith(name)]
    if name not in with_path:
        return []
    home = os.path.expanduser("~")
    found = sorted(glob(escape(home + word[1:] if word.startswith("~") else word) + "*"))
    shown = [f"~{path[len(home) :]}" if word.startswith("~") else path for path in found]
    return [f"{name}/" if Path(path).is_dir() else f"{name} " for name, path in zip(shown, found, strict=True)]


def with_completion(commands: Sequence[str], with_path: Sequence[str]) -> None:
    """Edit lines with readline, where there is one: older lines come back, Tab completes."""
    try:
        import readline
    except ImportError:
        return

    def complete(word: str, number: int) -> str | None:
        found = completions(readline.get_line_buffer(), word, commands, with_path)
        return found[number] if number < len(found) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


def line_so_far() -> str:
    """What is typed of the line that is being edited; empty where no readline is there to know."""
    try:
        import readline
    except ImportError:
        return ""
    return readline.get_line_buffer()
