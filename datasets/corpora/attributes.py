"""Attributes that a corpus declares: what its works differ in, and how a change of it is requested.

Two works that have everything in `same` in common and differ in the attribute are an edit, an in-context example of it,
and an analogy. The attribute's value is in `SourceRow.attributes`, under its name, as a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Turns = tuple[tuple[str, ...], ...]
EDITS = (
    ("Change the {label} in [query] to {word}.", "[target]"),
    ("[query] Make the {label} {word}.", "[target]"),
    ("Show [query] with another {label}: {word}.", "Here it is: [target]"),
)
ASKS = ("Change the {label} to {word}.", "Make the {label} {word}.", "The {label} should be {word}.")


@dataclass(frozen=True, kw_only=True)
class Attribute:
    name: str
    same: tuple[str, ...]
    """Attributes that two works have in common for a pair: ('concept',)."""
    values: tuple[str, ...] = ()
    """The values that make pairs; all if empty."""
    neutral: str = ""
    """A value that one work of every pair has; none if empty."""
    absent: str = ""
    """The value of works that have '' or none; if empty, they make no pairs."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Value -> its word in requests; if empty, every value is its own word. A value without a word is only shown."""
    wordless: str = ""
    """Regular expression for concepts that are changed in examples only, because no word says what becomes of them."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Value -> a group of values that look alike; a value that is not listed is a group of its own."""
    edits: Turns = ()
    """Templates of the edit, in which {NAME} is the word of the new value."""
    asks: tuple[str, ...] = ()
    """Requests for the change within a conversation, in which {x} is that word."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z_]*", self.name):
            raise ValueError(f"attribute {self.name!r}: a name has small letters and _ only")
        fields = {"label": self.name.replace("_", " ")}
        edits = tuple(tuple(turn.format(**fields, word=f"{{{self.name}}}") for turn in turns) for turns in EDITS)
        object.__setattr__(self, "edits", self.edits or edits)
        object.__setattr__(self, "asks", self.asks or tuple(ask.format(**fields, word="{x}") for ask in ASKS))
