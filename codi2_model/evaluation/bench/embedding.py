"""Embeddings by the judges, with a cache of named media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codi2_datasets.runtime.progress import progress
from codi2_model.evaluation.judges import AudioJudge, Embeddings, ImageJudge, Judge, TextJudge, VideoJudge

JUDGES: dict[str, Callable[[], Judge]] = {
    "image": ImageJudge, "audio": AudioJudge, "video": VideoJudge, "text": TextJudge,
}  # fmt: skip
SLICE = 64  # media between two progress messages


class Embedder:
    """One judge per modality, loaded on first use, and a cache of the embeddings of named media."""

    def __init__(self) -> None:
        self._judges: dict[str, Judge] = {}
        self._rows: dict[tuple[str, str], Embeddings] = {}

    def judge(self, modality: str) -> Any:
        """The judge of a modality."""
        if modality not in self._judges:
            self._judges[modality] = JUDGES[modality]()
        return self._judges[modality]

    def missing(self, modality: str, names: Sequence[str]) -> list[str]:
        """Names without a cached embedding, in order, without duplicates."""
        return [name for name in dict.fromkeys(names) if (modality, name) not in self._rows]

    def add(self, modality: str, media: Mapping[str, Any]) -> None:
        """Embed named media that are not cached."""
        names = self.missing(modality, list(media))
        for name, row in zip(names, self.embed(modality, [media[name] for name in names]), strict=True):
            self._rows[(modality, name)] = row

    def rows(self, modality: str, names: Sequence[str]) -> Embeddings:
        """Cached embeddings (N, D) of named media."""
        return np.stack([self._rows[(modality, name)] for name in names])

    def embed(self, modality: str, media: Sequence[Any], cached: Mapping[int, str] | None = None) -> Embeddings:
        """Embeddings (N, D) of media; equal objects are embedded once.

        cached: id() of an object -> its name in the cache, for objects that are candidates too.
        """
        known = {id(m): cached[id(m)] for m in media if id(m) in cached} if cached else {}
        order = list({id(medium): medium for medium in media if id(medium) not in known}.values())
        judge = self.judge(modality)
        rows: list[Embeddings] = []
        with progress(f"judge {modality}", len(order), "media") as advance:
            for start in range(0, len(order), SLICE):
                piece = order[start : start + SLICE]
                rows.extend(judge.embed(piece))
                advance(len(piece))
        by_id = {key: self._rows[(modality, name)] for key, name in known.items()}
        by_id |= dict(zip(map(id, order), rows, strict=True))
        return np.stack([by_id[id(medium)] for medium in media]) if media else judge.embed([])
