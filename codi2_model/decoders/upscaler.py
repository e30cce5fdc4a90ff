"""Upscaler: enlarges generated images fourfold for display, with Real-ESRGAN (realesr-animevideov3, BSD-3-Clause).

18 convolutions of 3 x 3 with 64 channels and PReLU, pixel shuffle, and a residual of the enlarged input; 0.62 M parameters.
The weights come from a package in the format of ncnn and are stored in checkpoints. Evaluation never uses upscaled images.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from codi2_datasets.pretrained.package_weights import package_file

FACTOR = 4
CHANNELS, HIDDEN = 64, 16
FILE = "models/realesr-animevideov3-x4.bin"
HALF = 0x01306B47  # ncnn's tag of 16-bit weights


class Upscaler(nn.Module):
    """Images (N, 3, H, W) in [0, 1] -> (N, 3, 4 H, 4 W) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (3, *[CHANNELS] * HIDDEN):
            layers += [nn.Conv2d(inputs, CHANNELS, 3, padding=1), nn.PReLU(CHANNELS)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3 * FACTOR**2, 3, padding=1), nn.PixelShuffle(FACTOR))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(next(self.parameters()).dtype)
        return (self.layers(images) + F.interpolate(images, scale_factor=FACTOR, mode="nearest")).clamp(0.0, 1.0)

    @torch.no_grad()
    def load(self, package: str) -> None:
        """Load weights from an installed package. Raises PackageMissing, or ValueError for an unexpected file."""
        path = package_file(package, FILE)
        reader = NcnnWeights(path)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(reader.weight(layer.weight.shape))
                assert layer.bias is not None
                layer.bias.copy_(reader.plain(layer.bias.shape))
            elif isinstance(layer, nn.PReLU):
                layer.weight.copy_(reader.plain(layer.weight.shape))
        reader.end()


class NcnnWeights:
    """Sequential reader of an ncnn .bin file: tagged 16-bit weights, and plain float32 for biases and slopes."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.offset = path, path.read_bytes(), 0

    def weight(self, shape: torch.Size) -> torch.Tensor:
        """Read tagged 16-bit weights."""
        [tag] = struct.unpack("<I", self._take(4))
        if tag != HALF:
            raise ValueError(f"{self.path}: weights have the tag {tag:#x}, expected {HALF:#x} (16 bits)")
        values = np.frombuffer(self._take(-(-shape.numel() * 2 // 4) * 4), "<f2")[: shape.numel()]
        return torch.from_numpy(values.astype(np.float32)).view(shape)

    def plain(self, shape: torch.Size) -> torch.Tensor:
        """Read float32 numbers."""
        return torch.from_numpy(np.frombuffer(self._take(shape.numel() * 4), "<f4").copy()).view(shape)

    def end(self) -> None:
        """Raise ValueError unless the whole file was read."""
        if self.offset != len(self.data):
            raise ValueError(f"{self.path}: {len(self.data) - self.offset} unexpected bytes at the end")

    def _take(self, count: int) -> bytes:
        data = self.data[self.offset : self.offset + count]
        if len(data) < count:
            raise ValueError(f"{self.path}: truncated after {len(self.data)} bytes")
        self.offset += count
        return data
