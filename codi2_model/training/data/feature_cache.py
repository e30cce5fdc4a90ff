"""Cache of the frozen encoders' features by asset id, so that media used in many samples are encoded once.

Each medium is encoded separately: its features do not depend on the batch in which it first occurred, and a resumed run,
whose cache is empty, computes the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class FeatureCache:
    """Cached features of media, up to a number of megabytes. The weights of `encoders` must not change."""

    def __init__(self, encoders: Any, megabytes: int) -> None:
        self.encoders = encoders
        self.room = megabytes * 1_000_000
        self._features: dict[tuple[str, str], torch.Tensor] = {}

    @torch.no_grad()
    def get(self, modality: str, assets: Sequence[str | None], media: torch.Tensor) -> torch.Tensor:
        """Features (N, slots, D) of media (N, ...). `assets`: their asset ids, None for media that are not cached."""
        rows = []
        for asset, medium in zip(assets, media, strict=True):
            key = (modality, asset or "")
            features = self._features.get(key)
            if features is None:
                features = self.encoders.features(modality, medium[None])[0].float()
                if asset is not None and features.nbytes <= self.room:
                    self._features[key] = features
                    self.room -= features.nbytes
            rows.append(features)
        return torch.stack(rows)
