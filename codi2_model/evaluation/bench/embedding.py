"""Embeddings by the judges, each medium embedded once however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codi2_datasets.runtime.progress import progress
from codi2_model.evaluation.judges import AudioJudge, ClipJudge, Embeddings, ImageJudge, Judge, TextJudge

JUDGES: dict[str, Callable[[], Judge]] = {
    "image": ImageJudge, "audio": AudioJudge, "video": ClipJudge, "text": TextJudge,
}  # fmt: skip
SLICE = 64  # media embedded between two lines of progress


class Embedder:
    """One judge for each kind of medium, loaded on first use. Named media are remembered for the whole run."""

    def __init__(self) -> None:
        self._judges: dict[str, Judge] = {}
        self._known: dict[tuple[str, str], Embeddings] = {}

    def judge(self, modality: str) -> Any:
        if modality not in self._judges:
            self._judges[modality] = JUDGES[modality]()
        return self._judges[modality]

    def missing(self, modality: str, names: Sequence[str]) -> list[str]:
        """Those that were never embedded, in order, each once."""
        return [name for name in dict.fromkeys(names) if (modality, name) not in self._known]

    def learn(self, modality: str, media: Mapping[str, Any]) -> None:
        """Embed named media, those that are not known yet."""
        names = self.missing(modality, list(media))
        for name, row in zip(names, self.embed(modality, [media[name] for name in names]), strict=True):
            self._known[(modality, name)] = row

    def rows(self, modality: str, names: Sequence[str]) -> Embeddings:
        """(N, D) of media that were learned."""
        return np.stack([self._known[(modality, name)] for name in names])

    def embed(self, modality: str, media: Sequence[Any]) -> Embeddings:
        """(N, D) of media without names; the same object again costs nothing."""
        order = list({id(medium): medium for medium in media}.values())
        judge, made = self.judge(modality), []
        with progress(f"judge {modality}", len(order), "media") as advance:
            for start in range(0, len(order), SLICE):
                piece = order[start : start + SLICE]
                made.append(judge.embed(piece))
                advance(len(piece))
        if not made:
            return judge.embed([])
        place = {id(medium): n for n, medium in enumerate(order)}
        return np.concatenate(made)[[place[id(medium)] for medium in media]]
