"""The interface that the published encoders share, what they have in common, and ImageBind behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from codi2_model.encoders.imagebind import inputs
from codi2_model.encoders.imagebind.model import ImageBind, fill, read_weights
from codi2_model.encoders.imagebind.options import ImageBindOptions

AXES = {"image": 4, "audio": 3, "video": 5}


class Family(Protocol):
    """What the families have in common; each is an nn.Module too."""

    width: int
    """Length of a feature vector."""
    modalities: tuple[str, ...]

    def features(self, modality: str, media: Tensor, slots: int) -> Tensor:
        """Canonical media -> (N, slots, width), with the length that the published model gives them.

        Raises ValueError for a modality or a number of slots that the family has not, and for media of another form.
        """
        ...


def check_media(modality: str, media: Tensor) -> None:
    """Raise ValueError where media are not in the canonical form of their modality."""
    channels = 1 if modality == "audio" else 3
    if media.ndim != AXES[modality] or media.shape[1] != channels or not media.numel():
        raise ValueError(
            f"{modality} has shape {tuple(media.shape)}, expected (N, {channels}, ...) of {AXES[modality]} axes"
        )
    if media.is_meta:
        return
    low, high = (float(value) for value in media.detach().aminmax())
    if not (low >= -1.001 and high <= 1.001):  # written so that NaN is refused too
        raise ValueError(f"{modality} values from {low:.3f} to {high:.3f}, expected [-1, 1]")


def grid_of(modality: str, slots: int, grids: bool) -> int:
    """Slots -> k, where a picture has 1 + k * k slots; 0 for one slot. ValueError for numbers that are neither."""
    grid = math.isqrt(slots - 1) if slots > 0 else -1
    if slots == 1 or (grids and modality == "image" and grid > 0 and 1 + grid * grid == slots):
        return grid
    wanted = "1 or 1 + k * k" if grids and modality == "image" else "1"
    raise ValueError(f"{modality}: {slots} slots, expected {wanted}")


class PublishedFamily(nn.Module):
    """What the families share: checks, frozen statistics, and a model that is filled as a whole."""

    modalities: tuple[str, ...] = ("image", "video")
    grids: ClassVar[bool] = False
    width: int

    def train(self, mode: bool = True) -> PublishedFamily:
        """Stays in evaluation mode: dropout and batch norm are as published, whoever calls this on a module above."""
        return super().train(False)

    def features(self, modality: str, media: Tensor, slots: int) -> Tensor:
        """See `Family.features`."""
        if modality not in self.modalities:
            raise ValueError(f"{type(self).__name__} has no '{modality}', only {', '.join(self.modalities)}")
        grid = grid_of(modality, slots, self.grids)
        check_media(modality, media)
        return self._features(modality, media, grid)

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        raise NotImplementedError

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class ImageBindFamily(PublishedFamily):
    """ImageBind's vision and audio trunks; vectors of length 1 (means over clips are a little shorter)."""

    grids = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = ImageBindOptions.from_dict(options["config"])
        self.model = ImageBind(self.options)
        self.width = self.options.out_dim
        pictures = ("image", "video") if "vision" in self.options.trunks else ()
        self.modalities = (*pictures, "audio") if "audio" in self.options.trunks else pictures
        self.train(False)

    @classmethod
    def describe(cls, source: str) -> dict[str, Any]:
        """Sizes from a `config.json` beside the weights; the published file has none: then `imagebind_huge`, two trunks."""
        weights_file(source)
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        values = {"trunks": ["vision", "audio"]}
        if (folder / "config.json").exists():
            values |= json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return {"config": json.loads(json.dumps(asdict(ImageBindOptions.from_dict(values))))}

    def load(self, source: str) -> None:
        """Weights from `imagebind_huge.pth`, its .safetensors twin, or a folder that holds one of them, to the CPU."""
        fill(self.model, read_weights(weights_file(source)))

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        if modality == "audio":
            prepared = inputs.sounds(media[:, 0], self.options.audio)
            return self.model.embed("audio", prepared.to(self._dtype()))[:, None]
        if modality == "video":
            clips = inputs.videos(media, self.options.vision)
            return self.model.embed("vision", clips.to(self._dtype()))[:, None]
        prepared = inputs.pictures(media, self.options.vision.shape[-1]).to(self._dtype())
        return self.model.tokens(prepared, grid) if grid else self.model.embed("vision", prepared)[:, None]


def weights_file(source: str) -> Path:
    """The .pth or .safetensors file that a path is, or that alone lies in it. Raises ValueError where there is none."""
    path = Path(source)
    if path.is_file():
        return path
    found = sorted(p for p in path.glob("*") if p.suffix in (".pth", ".safetensors"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise ValueError(f"{source}: expected one .pth or .safetensors file, found {names}")
    return found[0]
