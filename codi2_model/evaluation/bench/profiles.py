"""Profiles of the benchmark: how many samples of a task are answered, and under which conditions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """limit: default number of samples of a task. demonstrations: also prompts with fewer, no and foreign demonstrations."""

    limit: int
    demonstrations: bool


QUICK, OPEN = "quick", "open"
PROFILES = {QUICK: Profile(24, False), OPEN: Profile(100, True)}
