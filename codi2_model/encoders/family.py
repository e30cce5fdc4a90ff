"""Interface and base class of the published encoder families."""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

AXES = {"image": 4, "audio": 3, "video": 5}


class Family(Protocol):
    """Interface of an encoder family, which is also an nn.Module."""

    width: int
    """Length of a feature vector."""
    modalities: tuple[str, ...]

    def features(self, modality: str, media: Tensor, slots: int) -> Tensor:
        """Media in canonical form -> (N, slots, width), with the vector length of the published model.

        Raises ValueError for an unsupported modality or number of slots, and for media in another form.
        """
        ...


def check_media(modality: str, media: Tensor) -> None:
    """Raise ValueError unless media are in the canonical form of their modality."""
    channels = 1 if modality == "audio" else 3
    if media.ndim != AXES[modality] or media.shape[1] != channels or not media.numel():
        raise ValueError(
            f"{modality} has shape {tuple(media.shape)}, expected (N, {channels}, ...) of {AXES[modality]} axes"
        )
    if media.is_meta:
        return
    low, high = (float(value) for value in media.detach().aminmax())
    if not (low >= -1.001 and high <= 1.001):  # false for NaN
        raise ValueError(f"{modality} values from {low:.3f} to {high:.3f}, expected [-1, 1]")


def grid_of(modality: str, slots: int, grids: bool) -> int:
    """Side k of the patch grid for 1 + k * k slots of an image; 0 for one slot. Raises ValueError for other numbers."""
    grid = math.isqrt(slots - 1) if slots > 0 else -1
    if slots == 1 or (grids and modality == "image" and grid > 0 and 1 + grid * grid == slots):
        return grid
    expected = "1 or 1 + k * k" if grids and modality == "image" else "1"
    raise ValueError(f"{modality}: {slots} slots, expected {expected}")


class PublishedFamily(nn.Module):
    """Base of the families: input checks, and a model that stays in evaluation mode."""

    modalities: tuple[str, ...] = ("image", "video")
    grids: ClassVar[bool] = False
    width: int

    def train(self, mode: bool = True) -> PublishedFamily:
        """Stay in evaluation mode, so that dropout and batch norm are as published."""
        return super().train(False)

    def features(self, modality: str, media: Tensor, slots: int) -> Tensor:
        """See `Family.features`."""
        if modality not in self.modalities:
            raise ValueError(f"{type(self).__name__} does not support '{modality}', only {', '.join(self.modalities)}")
        grid = grid_of(modality, slots, self.grids)
        check_media(modality, media)
        return self._features(modality, media, grid)

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        raise NotImplementedError

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
