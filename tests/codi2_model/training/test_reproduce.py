"""Comparison of two checkpoints tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from codi2_model.checkpoints import device
from codi2_model.training.reproduce import compare_tensors, difference

WEIGHTS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(float("nan")),
    "c": torch.ones(4, dtype=torch.bfloat16),
}


def folder(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    path.mkdir()
    for name, value in weights.items():  # a file each: how they are spread does not matter
        save_file({name: value}, path / f"{name}.safetensors")
    return path


def test_equal_tensors_are_equal_to_the_bit_whatever_they_hold(tmp_path: Path) -> None:
    result = compare_tensors(folder(tmp_path / "one", WEIGHTS), folder(tmp_path / "two", WEIGHTS))
    assert (result.number, result.different, result.first) == (3, 0, "")


def test_the_first_tensor_that_differs_and_the_largest_difference_are_told(tmp_path: Path) -> None:
    other = {"a": WEIGHTS["a"] + 0.5, "c": WEIGHTS["c"] * 3, "d": torch.zeros(1)}
    result = compare_tensors(folder(tmp_path / "one", WEIGHTS), folder(tmp_path / "two", other))
    assert (result.number, result.different) == (4, 4)
    assert result.first == "a differs; the largest difference is 2, in c"
    assert (
        difference("a", torch.zeros(2), torch.zeros(2, 1))[0]
        == "a is torch.float32 (2,), reproduced torch.float32 (2, 1)"
    )


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8), st.integers(0, 7), st.floats(-2, 2, width=32))
@settings(max_examples=30, deadline=None)
def test_two_tensors_differ_exactly_where_their_bits_do(values: list[float], place: int, by: float) -> None:
    one = torch.tensor(values, dtype=torch.float32)
    two = one.clone()
    two[place % len(values)] += by
    message, gap = difference("t", one, two)
    assert bool(message) == (one.numpy().tobytes() != two.numpy().tobytes())
    assert gap == float((one.double() - two.double()).abs().max())


def test_a_run_that_went_on_with_other_threads_claims_none(tmp_path: Path) -> None:
    assert device.device_summary(tmp_path) == (None, None)
    before = torch.get_num_threads()
    try:
        for threads, expected in ((1, 1), (1, 1), (2, None)):
            torch.set_num_threads(threads)
            device.record_device(tmp_path)
            assert device.device_summary(tmp_path)[1] == expected
    finally:
        torch.set_num_threads(before)
