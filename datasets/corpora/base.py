"""Interface of corpora: Corpus, and the rows that it yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

TRANSIENT_PREFIX = "for now: "  # prefix of the reason of a transient failure; the next build reads the row again


@dataclass(frozen=True)
class SourceRow:
    """One item of a corpus, before its media are normalised. Plain and picklable."""

    corpus: str
    locator: str
    """The file in the package, and its member: 'package/icons.json#dog-face'. Unique in its corpus."""
    modality: str
    """image, audio, video or text."""
    payload: bytes | str
    """Encoded media as in the source (SVG, PNG, WebP, OGG, FLAC, WAV, MP4); for text the string itself."""
    media_type: str
    licence: str
    """SPDX id."""
    author: str
    caption: str
    """Caption written by people: 'dog face', 'A duck.', 'hard high tom drum'."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """JSON-serialisable: concept, family, style, kind, ... as documented in the corpus's own module."""


@dataclass(frozen=True)
class RejectedRow:
    """One item of a corpus that cannot be used, with the reason. It is recorded in the ledger."""

    corpus: str
    locator: str
    reason: str

    @property
    def is_transient(self) -> bool:
        """Whether the failure is transient: the row then counts as failed, and the next build reads it again."""
        return TRANSIENT_PREFIX in self.reason


class Corpus(Protocol):
    """One corpus. A module in this folder defines one as `CORPUS`, or several as `CORPORA`.

    It may also have `attributes`, which its works differ in (see `codi2_datasets.corpora.attributes`), and `scenes`: by
    style, the concepts whose drawings are scenes, on which others are placed.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Version of the reading code: change it whenever the rows change."""

    @property
    def source(self) -> str:
        """In the form that `codi2_datasets.sources.fetch.fetch` takes: 'npm:@iconify-json/noto@1.2.9'."""

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
        """Tasks that use it."""

    @property
    def size(self) -> str:
        """In words, for the list of corpora: '3,715 images, 3 MB'."""

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        """All items of the unpacked package, always in the same order."""
