"""Interface and base class of the published encoder families, and the ImageBind family."""

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


class ImageBindFamily(PublishedFamily):
    """ImageBind's vision and audio trunks. Vectors have length 1 (means over clips are slightly shorter)."""

    grids = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = ImageBindOptions.from_dict(options["config"])
        self.model = ImageBind(self.options)
        self.width = self.options.out_dim
        visual = ("image", "video") if "vision" in self.options.trunks else ()
        self.modalities = (*visual, "audio") if "audio" in self.options.trunks else visual
        self.train(False)

    @classmethod
    def describe(cls, source: str) -> dict[str, Any]:
        """Options from a `config.json` next to the weights. Without one: `imagebind_huge` with two trunks, as published."""
        weights_file(source)
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        values = {"trunks": ["vision", "audio"]}
        if (folder / "config.json").exists():
            values |= json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return {"config": json.loads(json.dumps(asdict(ImageBindOptions.from_dict(values))))}

    def load(self, source: str) -> None:
        """Load weights to the CPU from `imagebind_huge.pth`, its .safetensors equivalent, or a folder with one of them."""
        fill(self.model, read_weights(weights_file(source)))

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        if modality == "audio":
            prepared = inputs.audio_clips(media[:, 0], self.options.audio)
            return self.model.embed("audio", prepared.to(self._dtype()))[:, None]
        if modality == "video":
            clips = inputs.video_clips(media, self.options.vision)
            return self.model.embed("vision", clips.to(self._dtype()))[:, None]
        prepared = inputs.normalised_images(media, self.options.vision.shape[-1]).to(self._dtype())
        return self.model.tokens(prepared, grid) if grid else self.model.embed("vision", prepared)[:, None]


def weights_file(source: str) -> Path:
    """The .pth or .safetensors file at a path, or the only one in a folder. Raises ValueError otherwise."""
    path = Path(source)
    if path.is_file():
        return path
    files = sorted(p for p in path.glob("*") if p.suffix in (".pth", ".safetensors"))
    if len(files) != 1:
        names = ", ".join(p.name for p in files) or "none"
        raise ValueError(f"{source}: expected one .pth or .safetensors file, found {names}")
    return files[0]
