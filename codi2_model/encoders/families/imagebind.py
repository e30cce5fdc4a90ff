"""ImageBind (Girdhar et al. 2023): features of images, audio and videos in one space, by this project's implementation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from codi2_model.encoders.family import PublishedFamily
from codi2_model.encoders.imagebind import inputs
from codi2_model.encoders.imagebind.model import ImageBind, fill, read_weights
from codi2_model.encoders.imagebind.options import ImageBindOptions


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


FAMILY = ImageBindFamily
