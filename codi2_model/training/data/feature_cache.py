"""Cache of the frozen encoders' features, by asset: a medium that stands in many samples is encoded once.

Each medium is encoded by itself, so that its features do not depend on the batch it first came in, and a resumed run, whose
cache is empty, computes the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class FeatureCache:
    """Features of media, kept up to a number of megabytes. `encoders` must not change meanwhile."""

    def __init__(self, encoders: Any, megabytes: int) -> None:
        self.encoders = encoders
        self.room = megabytes * 1_000_000
        self._held: dict[tuple[str, str], torch.Tensor] = {}

    @torch.no_grad()
    def get(self, modality: str, assets: Sequence[str | None], media: torch.Tensor) -> torch.Tensor:
        """Features (N, slots, D) of media (N, ...), by the ids of their assets; None: not kept."""
        found = []
        for asset, medium in zip(assets, media, strict=True):
            key = (modality, asset or "")
            features = self._held.get(key)
            if features is None:
                features = self.encoders.features(modality, medium[None])[0].float()
                if asset is not None and features.nbytes <= self.room:
                    self._held[key] = features
                    self.room -= features.nbytes
            found.append(features)
        return torch.stack(found)
