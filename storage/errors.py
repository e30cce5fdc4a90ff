"""The base class of errors that a user can correct."""

from __future__ import annotations


class UsageError(ValueError):
    """A mistake in the user's input: an option, a file, a query. The message names it; the command line exits with status 2."""
