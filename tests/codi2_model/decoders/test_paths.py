"""Straight paths from noise to data, and patches of media."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codi2_model.decoders.paths import StraightPath
from codi2_model.decoders.transformer import from_patches, to_patches
from codi2_model.modules.noise import uniform


def test_a_straight_path_goes_from_noise_to_data() -> None:
    path, noise, data = StraightPath(), torch.randn(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    ends = path.noisy(data, noise, torch.tensor([0.0, 1.0, 0.5]))
    assert torch.equal(ends[0], noise[0]) and torch.equal(ends[1], data[1])
    torch.testing.assert_close(ends[2], (noise[2] + data[2]) / 2)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_whoever_knows_the_data_arrives_there_in_any_number_of_steps(steps: int) -> None:
    data = torch.rand(2, 3, 4, 4) * 2 - 1
    result = list(StraightPath().sample(lambda noisy, times: data, torch.randn(2, 3, 4, 4), steps))
    assert len(result) == steps
    torch.testing.assert_close(result[-1], data, atol=1e-5, rtol=0)


def test_times_of_training_are_logistic_normal_but_for_a_share_of_pure_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    times = StraightPath(mean=-0.6, pure_noise=0.2).times(lambda: uniform((20_000,), generator, torch.zeros(1)))
    assert float((times == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    logits = torch.logit(times[times > 0])
    assert float(logits.mean()) == pytest.approx(-0.6, abs=0.03) and float(logits.std()) == pytest.approx(1.0, abs=0.03)


def test_the_error_weighs_what_the_error_of_the_velocity_would_up_to_a_bound() -> None:
    data, noise, guess = torch.zeros(2, 1, 2, 2), torch.randn(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    error = StraightPath(max_weight=9.0).error(guess, data, noise, torch.tensor([0.5, 0.99]))
    assert error[0].unique().tolist() == [4.0] and error[1].unique().tolist() == [9.0]


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=2, max_size=3),
)
def test_patches_hold_every_number_once_and_lead_back(count: int, channels: int, sides: list[tuple[int, int]]) -> None:
    patch, shape = tuple(size for _, size in sides), tuple(number * size for number, size in sides)
    media = torch.arange(count * channels * torch.tensor(shape).prod()).reshape(count, channels, *shape).float()
    patches = to_patches(media, patch)
    assert patches.shape[1:] == (
        int(torch.tensor([n for n, _ in sides]).prod()), channels * int(torch.tensor(patch).prod())
    )  # fmt: skip
    assert torch.equal(from_patches(patches, patch, shape), media)


def test_a_patch_is_a_block_of_the_image() -> None:
    media = torch.randn(2, 3, 32, 32)
    assert torch.equal(to_patches(media, (8, 8))[0, 5].view(3, 8, 8), media[0, :, 8:16, 8:16])
