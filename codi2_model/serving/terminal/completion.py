"""Tab completion of the terminal chat: commands, and paths after commands that take one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import escape, glob
from pathlib import Path


def completions(line: str, word: str, commands: Sequence[str], with_path: Sequence[str]) -> list[str]:
    """Completions of `word`, the last word of `line`. Folders end with a slash."""
    if not line.startswith("/"):
        return []
    name, blank, _ = line[1:].partition(" ")
    if not blank:
        return [f"/{command} " for command in commands if command.startswith(name)]
    if name not in with_path:
        return []
    home = os.path.expanduser("~")
    paths = sorted(glob(escape(home + word[1:] if word.startswith("~") else word) + "*"))
    names = [f"~{path[len(home) :]}" if word.startswith("~") else path for path in paths]
    return [f"{name}/" if Path(path).is_dir() else f"{name} " for name, path in zip(names, paths, strict=True)]


def with_completion(commands: Sequence[str], with_path: Sequence[str]) -> None:
    """Enable line editing, history and Tab completion if readline is available."""
    try:
        import readline
    except ImportError:
        return

    def complete(word: str, number: int) -> str | None:
        matches = completions(readline.get_line_buffer(), word, commands, with_path)
        return matches[number] if number < len(matches) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


def line_so_far() -> str:
    """The text of the line that is being edited; empty without readline."""
    try:
        import readline
    except ImportError:
        return ""
    return readline.get_line_buffer()
