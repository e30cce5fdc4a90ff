"""Benchmarks as others published them. Each is one small file with a `SUITE`; adding a file adds the suite.

A suite knows its data (files in a folder, in the format they are published in), its prompts, its judges (networks in a
folder of weights) and its scores. It knows nothing of the model: prompts go in, media come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.media.image import decode_image
from codi2_datasets.readers.values import Bad, Numbered
from codi2_model.evaluation.data import EvaluationError
from codi2_model.evaluation.suites.networks import Networks


class SuiteError(EvaluationError):
    """A suite's data or judges are not where they should be; the message names the file."""


@dataclass(frozen=True)
class Request:
    """One prompt. `about` is what the suite needs to score the answer; requests of one `group` are averaged first, so
    that several answers to one prompt count as one sample in intervals. `truth` is shown on the page."""

    key: str
    task: str
    prompt: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    truth: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Figure:
    """A measure of one task. `scores`: request group -> score, averaged with an interval; or one `value` of a whole set."""

    task: str
    metric: str
    scores: Mapping[str, float] | None = None
    value: float | None = None
    n: int = 0
    baseline: str | None = None


@dataclass(frozen=True)
class Suite:
    """`score` takes the requests and, in the same order, the answers (None where there is none)."""

    name: str
    modality: str
    source: str
    requests: Callable[[Path, int | None, int], list[Request]]
    score: Callable[[Path, Sequence[Request], Sequence[Any | None], Networks], list[Figure]]
    judges: tuple[str, ...]


@cache
def suites() -> dict[str, Suite]:
    """Every suite, by name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    found = [module.SUITE for module in modules if hasattr(module, "SUITE")]
    return {suite.name: suite for suite in sorted(found, key=lambda suite: suite.name)}


def needed(path: Path, what: str) -> Path:
    """The path, if it is there. Raises SuiteError."""
    if not path.exists():
        raise SuiteError(f"{path} is not there: {what}")
    return path


def read_image(path: Path, what: str) -> Image.Image:
    """The image in a file of the suite's data, as a viewer shows it. Raises SuiteError."""
    try:
        return decode_image(needed(path, what).read_bytes())
    except MediaError as error:
        raise SuiteError(f"{path}: {error}") from error


def table(path: Path, rows: Numbered) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a published list with their numbers, from 1. Raises SuiteError for one that is broken: a measure is of
    the whole list."""
    for number, row in rows:
        if not isinstance(row, dict):
            raise SuiteError(f"{path} row {number + 1}: {row.reason if isinstance(row, Bad) else 'no row'}")
        yield number + 1, row


def user(*parts: str | Mapping[str, Any]) -> list[dict[str, Any]]:
    """A prompt of one message; strings are its words."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else dict(part) for part in parts]
    return [{"role": "user", "content": content}]
