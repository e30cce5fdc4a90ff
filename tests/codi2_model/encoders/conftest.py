"""Fixtures: a reduced ImageBind with all six trunks, and its inputs."""

from __future__ import annotations

import pytest
import torch

from codi2_model.encoders.imagebind import ImageBind, ImageBindOptions

SMALL = {
    "out_dim": 24,
    "vision": {"width": 32, "depth": 2, "heads": 4, "shape": [2, 28, 28], "patch": [2, 7, 7]},
    "text": {"width": 32, "depth": 2, "heads": 4, "shape": [12], "vocab": 50},
    "audio": {"width": 16, "depth": 2, "heads": 2},
    "depth": {"width": 16, "depth": 1, "heads": 2, "shape": [32, 32]},
    "thermal": {"width": 16, "depth": 1, "heads": 2, "shape": [32, 32]},
    "imu": {"width": 16, "depth": 1, "heads": 2, "shape": [80]},
}


@pytest.fixture(scope="session")
def small_imagebind() -> dict:
    return SMALL


@pytest.fixture(scope="session")
def imagebind() -> ImageBind:
    torch.manual_seed(0)
    model = ImageBind(ImageBindOptions.from_dict(SMALL)).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and "logit" not in name:  # norms and biases at their start would hide a mix-up
            torch.nn.init.normal_(parameter, mean=0.5, std=0.5)
    return model


@pytest.fixture(scope="session")
def prepared() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(1, 40, (2, 12))
    ids[0, 4], ids[0, 5:], ids[1, 11] = 49, 0, 49
    return {
        "vision": torch.randn(2, 3, 28, 28),
        "text": ids,
        "audio": torch.randn(2, 3, 1, 128, 204),
        "depth": torch.randn(2, 1, 32, 32),
        "thermal": torch.randn(2, 1, 32, 32),
        "imu": torch.randn(2, 6, 80),
    }
