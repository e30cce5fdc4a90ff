"""Enlarges images fourfold for people to look at: Real-ESRGAN's network for drawings (realesr-animevideov3, BSD-3-Clause).

18 convolutions of 3 x 3, 0.62 M parameters: 64 channels with PReLU, pixel shuffle, and the image itself enlarged beside them.
Its weights come out of a package in ncnn's format and are kept in checkpoints from then on. Figures are measured on what the
decoder itself draws, never on what this makes of it.
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
HALF = 0x01306B47  # how ncnn marks weights of 16 bits


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
        """Fill it from an installed package. Raises PackageMissing where that is not there, ValueError for another file."""
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
    """Reads a .bin file of ncnn from front to back: weights behind a mark of their type, biases and slopes as plain float32."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def weight(self, shape: torch.Size) -> torch.Tensor:
        [mark] = struct.unpack("<I", self._take(4))
        if mark != HALF:
            raise ValueError(f"{self.path}: weights marked {mark:#x}, expected 16-bit ones ({HALF:#x})")
        values = np.frombuffer(self._take(-(-shape.numel() * 2 // 4) * 4), "<f2")[: shape.numel()]
        return torch.from_numpy(values.astype(np.float32)).view(shape)

    def plain(self, shape: torch.Size) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(self._take(shape.numel() * 4), "<f4").copy()).view(shape)

    def end(self) -> None:
        if self.at != len(self.data):
            raise ValueError(f"{self.path}: {len(self.data) - self.at} bytes are left over")

    def _take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError(f"{self.path}: ends after {len(self.data)} bytes")
        self.at += count
        return found
