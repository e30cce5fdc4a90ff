"""Bit-exact reimplementation of PIL's resize."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codi2_model.encoders.resize import byte_values, resize

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SIDES = st.integers(1, 160)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.sampled_from(sorted(FILTERS)), st.booleans(), st.integers(0)
)
def test_any_image_is_resized_as_pil_resizes_it(old, new, name, hard, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 2, (*old, 3)) * 255 if hard else random.integers(0, 256, (*old, 3))
    result = resize(torch.from_numpy(pixels).int().permute(2, 0, 1)[None], new, name)
    expected = Image.fromarray(pixels.astype(np.uint8)).resize(new[::-1], FILTERS[name])
    assert (result[0].permute(1, 2, 0).numpy() == np.asarray(expected)).all()


def test_an_image_that_is_a_thread_is_resized_by_its_height_first_as_by_pil():
    pixels = np.random.default_rng(0).integers(0, 256, (301, 2, 3), dtype=np.uint8)
    result = resize(torch.from_numpy(pixels).int().permute(2, 0, 1), (50, 75), "bicubic")
    expected = Image.fromarray(pixels).resize((75, 50), Image.Resampling.BICUBIC)
    assert (result.permute(1, 2, 0).numpy() == np.asarray(expected)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_come_back_from_the_canonical_range(dtype):
    every = torch.arange(256)
    assert torch.equal(byte_values(every.to(dtype) / 127.5 - 1), every.int())
