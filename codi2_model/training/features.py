"""Cache of what frozen encoders make of media and of texts: what stands in many samples is encoded once.

Each medium and each text is encoded by itself, so that the result does not depend on the batch it first came in, and a resumed
run, whose cache is empty, computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence


class Kept:
    """Tensors by their keys, up to a number of megabytes."""

    def __init__(self, megabytes: int) -> None:
        self.room = megabytes * 1_000_000
        self._held: dict[Hashable, torch.Tensor] = {}

    def get(self, key: Hashable | None, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What is kept under the key, or is made now; None: not kept."""
        found = None if key is None else self._held.get(key)
        if found is None:
            found = make()
            if key is not None and found.nbytes <= self.room:
                self._held[key] = found
                self.room -= found.nbytes
        return found


class FeatureCache:
    """Features of media. `encoders` must not change meanwhile."""

    def __init__(self, encoders: Any, megabytes: int) -> None:
        self.encoders, self.kept = encoders, Kept(megabytes)

    @torch.no_grad()
    def get(self, modality: str, assets: Sequence[str | None], media: torch.Tensor) -> torch.Tensor:
        """Features (N, slots, D) of media (N, ...), by the ids of their assets; None: not kept."""
        found = [
            self.kept.get(
                None if asset is None else (modality, asset),
                lambda medium=medium: self.encoders.features(modality, medium[None])[0].float(),  # type: ignore[misc]
            )
            for asset, medium in zip(assets, media, strict=True)
        ]
        return torch.stack(found)


class TextStatesCache:
    """States of the pretrained text encoder, by a text's word pieces; kept in bfloat16 where the run computes in it."""

    def __init__(self, encoder: Any, megabytes: int, half: bool) -> None:
        self.encoder, self.kept = encoder, Kept(megabytes)
        self.dtype = torch.bfloat16 if half else torch.float32

    @torch.no_grad()
    def get(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (P, L), padded on the right -> states (P, L, width), zero where nothing stands."""
        found = []
        for row, length in zip(ids, mask.sum(dim=1).tolist(), strict=True):
            pieces = row[:length]
            found.append(self.kept.get(pieces.cpu().numpy().tobytes(), lambda pieces=pieces: self._states(pieces)))  # type: ignore[misc]
        return pad_sequence(found, batch_first=True)

    def _states(self, pieces: torch.Tensor) -> torch.Tensor:
        return self.encoder(pieces[None], torch.ones_like(pieces[None]))[0].to(self.dtype)
