"""Profiles of the benchmark: how many samples of a task are answered, and under which conditions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """limit: default number of samples of a task. demonstrations: also prompts with fewer, no and foreign demonstrations.

    styles: also style@1, whose candidates are many media to embed.
    """

    limit: int
    demonstrations: bool
    styles: bool


QUICK, OPEN = "quick", "open"
PROFILES = {QUICK: Profile(16, False, False), OPEN: Profile(100, True, True)}
