"""Metrics against known values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from codi2_datasets.media.video import at_moments
from codi2_model.evaluation.metrics.colour import delta_e, histogram_distance, lab
from codi2_model.evaluation.metrics.edits import edit_score
from codi2_model.evaluation.metrics.frechet import bures, frechet, ledoit_wolf
from codi2_model.evaluation.metrics.motion import motion_agreement
from codi2_model.evaluation.metrics.shape import chamfer, foreground, iou
from codi2_model.evaluation.metrics.spectra import kl_divergence, log_spectral_distance, softmax
from codi2_model.evaluation.statistics import paired_gain


def exact_frechet(x: np.ndarray, y: np.ndarray, weights: tuple[float, float]) -> float:
    """Frechet distance by the formula, with full matrices."""
    matrices = []
    for rows, weight in zip((x, y), weights, strict=True):
        c = np.cov(rows.T, bias=True)
        matrices.append((1 - weight) * c + weight * np.trace(c) / len(c) * np.eye(len(c)))
    cross = sqrtm(matrices[0] @ matrices[1]).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(matrices[0] + matrices[1] - 2 * cross))


def test_frechet_of_two_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    scale, shift = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, -1.0])
    x, y = rng.normal(size=(200_000, 3)), rng.normal(size=(200_000, 3)) * scale + shift
    closed = (shift**2).sum() + ((scale - 1) ** 2).sum()  # diagonal covariances: (s1 - s2)^2 in each dimension
    assert frechet(x, y, shrink=False).value == pytest.approx(closed, rel=0.02)
    assert bures(np.diag([1.0, 4.0]), np.diag([9.0, 4.0])) == pytest.approx(4.0)


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("n", [12, 300])
def test_frechet_in_the_spanned_subspace_is_that_of_the_whole_space(n: int, shrink: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, 40)), 0.3 + rng.normal(size=(n + 5, 40)) @ np.diag(np.linspace(0.5, 2, 40))
    result = frechet(x, y, shrink)
    assert result.value == pytest.approx(exact_frechet(x, y, result.shrinkage), rel=1e-5)
    assert result.n == (n, n + 5) and all((w > 0) == shrink for w in result.shrinkage)
    assert frechet(x, x, shrink).value == pytest.approx(0, abs=1e-9)


def test_shrinkage_falls_with_the_number_of_samples_and_brings_the_covariance_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = np.diag(np.linspace(0.5, 1.5, 60))
    weights, errors = [], []
    for n in (20, 200, 20_000):
        rows = rng.normal(size=(n, 60)) @ np.sqrt(truth)
        rows -= rows.mean(0)
        weight = ledoit_wolf(rows)
        plain = rows.T @ rows / n
        moved = (1 - weight) * plain + weight * np.trace(plain) / 60 * np.eye(60)
        weights.append(weight)
        errors.append((np.linalg.norm(moved - truth), np.linalg.norm(plain - truth)))
    assert weights == sorted(weights, reverse=True) and weights[-1] < 0.1
    assert all(shrunk < plain for shrunk, plain in errors[:2])


def test_frechet_refuses_what_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two"):
        frechet(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="expected"):
        frechet(np.zeros((5, 3)), np.zeros((5, 4)))


def test_lab_of_known_colours() -> None:
    known = {(255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20)}
    known |= {(0, 0, 255): (32.30, 79.19, -107.86), (119, 119, 119): (50.03, 0, 0)}
    for rgb, expected in known.items():
        assert lab(np.array(rgb, np.uint8)) == pytest.approx(expected, abs=0.05)
    grey, white = np.full((4, 4, 3), 119, np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert delta_e(grey, white) == pytest.approx(49.97, abs=0.05)


def test_colour_histograms_do_not_know_places_but_colours() -> None:
    red, blue = np.tile(np.uint8([200, 20, 20]), (50, 1)), np.tile(np.uint8([20, 20, 200]), (50, 1))
    both = np.concatenate([red, blue])
    assert histogram_distance(both, both[::-1]) == pytest.approx(0, abs=1e-12)
    assert histogram_distance(red, blue) == pytest.approx(1, abs=1e-6)
    assert histogram_distance(both, red) == pytest.approx(0.5, abs=1e-6)
    none = np.zeros((0, 3), np.uint8)
    assert histogram_distance(none, none) == 0 and histogram_distance(none, red) == 1


def square(left: int, top: int, side: int = 8, size: int = 32) -> np.ndarray:
    picture = np.full((size, size, 3), 255, np.uint8)
    picture[top : top + side, left : left + side] = (10, 60, 200)
    return picture


def test_overlap_and_distance_of_shifted_squares() -> None:
    one, moved, apart = (foreground(square(left, 8)) for left in (4, 8, 20))
    assert one.sum() == 64
    assert iou(one, one) == 1 and iou(one, moved) == pytest.approx(32 / 96) and iou(one, apart) == 0
    assert chamfer(one, one) == 0
    assert 0 < chamfer(one, moved) < chamfer(one, apart) < 16 / np.hypot(32, 32)
    line, other = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    line[2], other[5] = True, True
    assert chamfer(line, other) == pytest.approx(3 / np.hypot(10, 10))
    empty = np.zeros((10, 10), bool)
    assert iou(empty, empty) == 1 and chamfer(empty, empty) == 0 and chamfer(empty, line) == 1


def test_an_edit_is_measured_inside_the_change_and_outside() -> None:
    source, target = square(4, 4), square(4, 4)
    target[20:28, 20:28] = (200, 0, 0)
    done, nothing = edit_score(source, target, target), edit_score(source, target, source)
    assert (done.kept, done.progress) == (1, 1) and (nothing.kept, nothing.progress) == (1, 0)
    half = target.copy()
    half[:10] = 0  # the right change, and a third of the picture destroyed
    spoiled = edit_score(source, target, half)
    assert spoiled.progress == 1 and spoiled.kept is not None and 0.6 < spoiled.kept < 0.75
    assert edit_score(source, source, target).progress is None
    assert edit_score(source, 255 - source, source).kept is None


def test_lsd_of_a_scaled_sound_is_the_logarithm_of_the_scale() -> None:
    noise = np.random.default_rng(0).normal(size=16_000) * 0.3
    assert log_spectral_distance(noise, noise) == 0
    assert log_spectral_distance(noise, noise * 0.1) == pytest.approx(2.0, abs=0.02)  # log10 of power: 10^-2
    assert log_spectral_distance(noise, noise / np.sqrt(10)) == pytest.approx(1.0, abs=0.01)
    assert log_spectral_distance(noise, np.zeros(100)) > 2.5
    assert log_spectral_distance(noise, noise[:8_000]) == pytest.approx(
        log_spectral_distance(noise[8_000:], np.zeros(8_000)) / 2, rel=0.1
    )


def test_kl_of_known_distributions() -> None:
    assert kl_divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(
        0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    )
    assert kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))
    assert softmax(np.log([[1.0, 3.0]])).tolist() == [pytest.approx([0.25, 0.75])]
    assert softmax(np.array([1.0, 2.0]), 0.1)[1] > 0.9999


def disc(centres: list[tuple[int, int]], size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    frames = [np.where((x - cx) ** 2 + (y - cy) ** 2 < 64, 0, 255) for cx, cy in centres]
    return np.repeat(np.stack(frames)[..., None], 3, -1).astype(np.uint8)


def test_motion_agrees_with_itself_and_not_with_motion_elsewhere() -> None:
    right = disc([(8 + 6 * n, 12) for n in range(8)])
    low = disc([(8 + 6 * n, 50) for n in range(8)])
    noise = np.random.default_rng(0).integers(0, 255, right.shape).astype(np.uint8)
    still = right[:1].repeat(8, 0)
    assert motion_agreement(right, right) == pytest.approx(1)
    assert motion_agreement(right, right[:, :, :, ::-1]) == pytest.approx(1)
    assert abs(motion_agreement(right, low)) < 0.2 and abs(motion_agreement(right, noise)) < 0.2
    assert motion_agreement(right, right[::-1]) < 0.5  # the same path, the other way
    assert motion_agreement(still, still) == 1 and motion_agreement(still, right) == 0
    assert at_moments(right, 3)[:, 0, 0, 0].shape == (3,) and np.array_equal(at_moments(right, 2)[1], right[-1])


def test_paired_intervals_are_narrower_than_the_scores_themselves_and_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(100):
        hard = rng.normal(size=40) * 5
        gain = paired_gain(list(hard + 1 + rng.normal(size=40) * 0.5), list(hard), seed, 300)
        held += gain.low <= 1 <= gain.high
        assert gain.high - gain.low < 0.5
    assert held >= 85
    with pytest.raises(ValueError, match="equal length"):
        paired_gain([1.0], [1.0, 2.0])
