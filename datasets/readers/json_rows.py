"""Rows of a JSON file in any layout: one object per line, a list of objects, or consecutive objects.

If each line is an object, a broken line affects only its own row. If an object repeats a key, the last value counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from codi2_datasets.readers.files import DAMAGE, damage
from codi2_datasets.readers.json_items import DECODER, SPACE, JsonScanner
from codi2_datasets.readers.lines import BUFFER, opened_text, split_lines
from codi2_datasets.readers.values import Bad, Numbered

LOOKED_AT = 50  # lines examined to decide whether each is an object by itself


def json_rows(file: str) -> Numbered:
    """Objects, numbered from 0; empty lines are skipped. Anything broken, or no object, is `Bad`."""
    number = 0
    try:
        with opened_text(file) as stream:
            head = stream.peek(BUFFER)
            values = line_values(split_lines(stream)) if is_lines(head) else JsonScanner(stream).sequence()
            for value in values:
                yield number, value if isinstance(value, dict | Bad) else Bad("no JSON object")
                number += 1
    except DAMAGE as error:
        yield number, Bad(f"damaged file: {damage(error)}")


def json_object(data: bytes | str) -> dict[str, Any] | Bad:
    try:
        value = json.loads(data)
    except UnicodeDecodeError:
        return Bad("broken UTF-8")
    except (ValueError, RecursionError):
        return Bad("no JSON")
    return value if isinstance(value, dict) else Bad("no JSON object")


def is_lines(head: bytes) -> bool:
    """Whether the beginning of a file has lines that are objects by themselves."""
    lines = [line for line in head.replace(b"\r", b"\n").split(b"\n") if line.strip()]
    if not lines:
        return True
    begins_list = lines[0].lstrip().startswith(b"[")
    if len(lines) == 1:  # a list, several objects, or a line longer than the examined part
        return not begins_list and not more_than_one(lines[0].decode("utf-8", "replace"))
    if begins_list and not is_json(lines[0]):
        return False  # a list over several lines, whose items may have lines of their own
    return any(line.startswith(b"{") and isinstance(json_object(line), dict) for line in lines[:LOOKED_AT])


def more_than_one(text: str) -> bool:
    try:
        _, end = DECODER.raw_decode(text, end_of_space(text, 0))
    except (ValueError, RecursionError):
        return False
    return end_of_space(text, end) < len(text)


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def line_values(lines: Iterator[bytes | Bad]) -> Iterator[Any]:
    """The value of each line, or its values if it holds several."""
    for line in lines:
        if isinstance(line, Bad):
            yield line
        elif not line or line.isspace():
            continue
        else:
            try:
                text = line.decode()
            except UnicodeDecodeError:
                yield Bad("broken UTF-8")
                continue
            try:
                yield json.loads(text)
            except (ValueError, RecursionError):
                yield from several(text)


def several(text: str) -> Iterator[Any]:
    """Values in one line, separated by blanks or commas; Bad from the first broken one on."""
    at = end_of_space(text, 0)
    while at < len(text):
        try:
            value, at = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield Bad("no JSON")
            return
        yield value
        at = end_of_space(text, at)


def end_of_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at
