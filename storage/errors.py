"""The base class of errors that a user can correct."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """A mistake in the user's input: an option, a file, a query. The message names it; the command line exits with status 2."""


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """The part of a message about an unknown name that suggests the nearest known one; '' if none is near."""
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
