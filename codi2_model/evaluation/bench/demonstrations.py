"""Demonstrations of a prompt: count, reduce, or exchange them with those of another prompt.

A demonstration ranges from its first `demo_input` to its last `demo_output`, with the text up to the next one. The parts before
the first are the head of the prompt, those after the last are its tail with the query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

Prompt = Sequence[Mapping[str, Any]]
Placed = tuple[int, str, Mapping[str, Any]]  # (message, its role, part)
DEMO = ("demo_input", "demo_output")


def split(prompt: Prompt) -> tuple[list[Placed], list[list[Placed]], list[Placed]]:
    """(head, demonstrations, tail) as parts with message numbers and roles. Without demonstrations all parts are tail."""
    flat = [(n, m["role"], part) for n, m in enumerate(prompt) for part in m["content"]]
    roles = [part.get("icl_role") for _, _, part in flat]
    outputs = [i for i, role in enumerate(roles) if role == "demo_output"]
    if not outputs:
        return [], [], flat
    end = outputs[-1] + 1
    starts: list[int] = []
    complete = True  # whether the previous demonstration has its output
    for i, role in enumerate(roles[:end]):
        if role in DEMO and complete:
            starts.append(i)
        # several outputs in a row belong to one demonstration
        complete = (complete or role == "demo_output") and role != "demo_input"
        if role == "demo_output" and roles[i + 1 : i + 2] == ["demo_output"]:
            complete = False
    demos = [flat[first:last] for first, last in pairwise([*starts, end])]
    return flat[: starts[0]], demos, flat[end:]


def count(prompt: Prompt) -> int:
    """Number of demonstrations of a prompt."""
    return len(split(prompt)[1])


def cut(prompt: Prompt, keep: int) -> list[dict[str, Any]]:
    """The prompt with its last `keep` demonstrations. For 0 the head is removed, too."""
    head, demos, tail = split(prompt)
    if keep >= len(demos):
        return _messages([*head, *(part for demo in demos for part in demo), *tail])
    if keep == 0:
        return _messages(_without_punctuation(tail))
    return _messages([*head, *(part for demo in demos[-keep:] for part in demo), *tail])


def exchange(prompt: Prompt, other: Prompt) -> list[dict[str, Any]]:
    """The prompt with the demonstrations (with their text) of another prompt instead of its own.

    If both have equally many demonstrations, the parts keep their message numbers.
    """
    head, own, tail = split(prompt)
    foreign = split(other)[1]
    base = own[0][0][0] if own else 0
    first = foreign[0][0][0] if foreign else 0
    moved = [(base + n - first, role, part) for demo in foreign for n, role, part in demo]
    last = max([n for n, _, _ in moved], default=base)
    shift = max(0, last - (tail[0][0] if tail else last))
    return _messages([*head, *moved, *((n + shift, role, part) for n, role, part in tail)])


def _without_punctuation(tail: Sequence[Placed]) -> list[Placed]:
    """A tail as the beginning of a prompt, without punctuation that ended the parts before it."""
    if not tail or tail[0][2]["type"] != "text":
        return list(tail)
    n, role, part = tail[0]
    text = part["text"].lstrip(" .,;:!?\n")
    return [(n, role, {**part, "text": text}), *tail[1:]] if text else list(tail[1:])


def _messages(parts: Sequence[Placed]) -> list[dict[str, Any]]:
    return [
        {"role": role, "content": [dict(part) for _, _, part in placed]}
        for (_, role), placed in groupby(parts, key=lambda entry: entry[:2])
    ]
