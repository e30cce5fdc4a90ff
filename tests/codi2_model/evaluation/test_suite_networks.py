"""Networks of published suites: image preprocessing as in transformers, and the Inception of FID."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from codi2_model.evaluation.suites.inception import Inception, load_inception
from codi2_model.evaluation.suites.networks import Networks, image_preprocessing


@pytest.mark.parametrize("kind", ["CLIPImageProcessorPil", "ViTImageProcessorPil"])
@pytest.mark.parametrize("resample", [2, 3])
def test_judges_see_images_as_transformers_prepares_them_with_pil(tmp_path: Path, kind: str, resample: int) -> None:
    import transformers

    sizes: dict[str, Any] = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
    if kind.startswith("ViT"):
        sizes = {"size": {"height": 32, "width": 32}}
    theirs = getattr(transformers, kind)(**sizes, resample=resample)
    theirs.save_pretrained(tmp_path)
    random = np.random.default_rng(0)
    for pixels in (random.integers(0, 2, (51, 90, 3)) * 255, random.integers(0, 256, (77, 50, 3))):
        image = Image.fromarray(pixels.astype(np.uint8))
        expected = theirs(image, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(image_preprocessing(tmp_path)(image), expected, atol=1e-6, rtol=0)


def test_the_inception_of_fid_takes_its_published_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Inception().eval()
    state = model.state_dict()
    # as counted in the published file: 94 convolutions with five tensors each beside their kernels, and the classifier
    kernels = [name for name in state if name.endswith("conv.weight")]
    assert len(kernels) == 94 and len(state) == 94 * 6 + 2
    learned = sum(state[name].numel() for name in state if "running" not in name and "tracked" not in name)
    assert learned == 23_834_568 + 8 * 2049  # as published for 1,000 classes, and 8 more
    assert state["Mixed_6e.branch7x7dbl_5.conv.weight"].shape == (192, 192, 1, 7)
    assert state["Mixed_7c.branch3x3dbl_3b.bn.running_var"].shape == (384,)
    torch.save({name: value for name, value in state.items() if "tracked" not in name}, tmp_path / "inception.pth")
    loaded = load_inception(tmp_path / "inception.pth").eval()
    with torch.inference_mode():
        shape = torch.rand(1, 3, 299, 299) * 2 - 1
        assert torch.equal(loaded(shape), model(shape)) and loaded(shape).shape == (1, 2048)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not the weights of FID's Inception"):
        load_inception(tmp_path / "other.pth")
    images = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    assert Networks(tmp_path).inception_images(images).shape == (2, 2048)
