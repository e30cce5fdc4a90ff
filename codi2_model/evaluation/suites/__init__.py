"""Published benchmark suites. Each is one file with a `SUITE`; adding a file adds the suite.

A suite defines its data (a folder in the published format), prompts, judges (networks in a folder of weights) and scores. It is
independent of the model: it provides prompts and scores the generated media.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.media.image import decode_image
from codi2_datasets.readers.values import Bad, Numbered
from codi2_datasets.runtime.plugins import Kind
from codi2_model.evaluation.data import EvaluationError
from codi2_model.evaluation.suites.networks import Networks
from codi2_storage.errors import UsageError


class SuiteError(EvaluationError, UsageError):
    """Data or options of a suite are missing or invalid; the message names the file."""


@dataclass(frozen=True)
class Request:
    """A prompt of a suite.

    about: data that the suite needs to score the answer. group: requests with equal groups are averaged first, so several
    answers to one prompt count as one sample in intervals. truth: reference reply, shown on the page.
    """

    key: str
    task: str
    prompt: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    truth: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Figure:
    """A measure of a task. scores: request group -> score, averaged with an interval; or `value`: one value of a whole set."""

    task: str
    metric: str
    scores: Mapping[str, float] | None = None
    value: float | None = None
    n: int = 0
    baseline: str | None = None


@dataclass(frozen=True)
class Suite:
    """A benchmark suite.

    requests: (data folder, limit, seed) -> requests. score: (data folder, requests, answers in the same order (None for a
    missing one), judges) -> figures. judges: names of the networks that it needs.
    """

    name: str
    modality: str
    source: str
    requests: Callable[[Path, int | None, int], list[Request]]
    score: Callable[[Path, Sequence[Request], Sequence[Any | None], Networks], list[Figure]]
    judges: tuple[str, ...]


KIND = Kind("suites", __name__, "SUITE")


@cache
def suites() -> dict[str, Suite]:
    """All suites, by name."""
    return KIND.parts()


def needed(path: Path, what: str) -> Path:
    """The path. Raises SuiteError if it does not exist."""
    if not path.exists():
        raise SuiteError(f"{path}: missing ({what})")
    return path


def read_image(path: Path, what: str) -> Image.Image:
    """Read an image of the suite's data, with its orientation applied. Raises SuiteError if missing or broken."""
    try:
        return decode_image(needed(path, what).read_bytes())
    except MediaError as error:
        raise SuiteError(f"{path}: {error}") from error


def table(path: Path, rows: Numbered) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a published list with their numbers, from 1. Raises SuiteError for a broken row, because metrics are
    computed over the whole list."""
    for number, row in rows:
        if not isinstance(row, dict):
            raise SuiteError(f"{path} row {number + 1}: {row.reason if isinstance(row, Bad) else 'not an object'}")
        yield number + 1, row


def user(*parts: str | Mapping[str, Any]) -> list[dict[str, Any]]:
    """A prompt of one user message; strings are text parts."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else dict(part) for part in parts]
    return [{"role": "user", "content": content}]
