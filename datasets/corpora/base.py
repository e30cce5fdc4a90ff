"""What a corpus is, and what it yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PASSES = "for now: "  # in the reason of a row that may be read another day, when the next build tries it again


@dataclass(frozen=True)
class SourceRow:
    """One thing in a corpus, before its media is normalised. Plain and picklable."""

    corpus: str
    locator: str
    """The file inside the package, and the member of it: 'package/icons.json#dog-face'. Unique in its corpus."""
    modality: str
    """image, audio, video or text."""
    payload: bytes | str
    """Encoded media as it came (SVG, PNG, WebP, OGG, FLAC, WAV, MP4); for text the text itself."""
    media_type: str
    licence: str
    """SPDX id."""
    author: str
    caption: str
    """Words for it, written by people: 'dog face', 'A duck.', 'hard high tom drum'."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """JSON-able: concept, family, style, kind, ... as the corpus's own docstring says."""


@dataclass(frozen=True)
class RejectedRow:
    """One thing in a corpus that cannot be used, and why: it goes into the ledger instead of vanishing."""

    corpus: str
    locator: str
    reason: str

    @property
    def passes(self) -> bool:
        """Its failure may pass: the row counts as failed, and the next build reads it again."""
        return PASSES in self.reason


class Corpus(Protocol):
    """One corpus. A module in this folder has one as `CORPUS`, or several as `CORPORA`."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Of the code that reads it: a change of what it yields changes this."""

    @property
    def source(self) -> str:
        """As `codi2_datasets.sources.fetch.fetch` takes it: 'npm:@iconify-json/noto@1.2.9'."""

    @property
    def companions(self) -> tuple[str, ...]:
        """Other sources that it needs."""

    @property
    def licence(self) -> str:
        """SPDX id of its rows, or of the strictest of them."""

    @property
    def description(self) -> str: ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that it feeds."""

    @property
    def size(self) -> str:
        """In words, for the list of corpora: '3,715 images, 3 MB'."""

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        """Everything in the unpacked package, always in the same order."""
