"""Coverage of bootstrap intervals, and the binomial test."""

from __future__ import annotations

import numpy as np
import pytest

from codi2_model.evaluation.statistics import binomial_p, bootstrap_mean


def test_the_interval_is_the_same_for_the_same_seed_and_holds_the_mean() -> None:
    scores = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    first = bootstrap_mean(scores, seed=3)
    assert first == bootstrap_mean(scores, seed=3)
    assert first.low <= first.value <= first.high and first.n == 6
    assert first.value == pytest.approx(2 / 3)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        estimate = bootstrap_mean(rng.random(40) < 0.4, seed=seed, resamples=400)
        held += estimate.low <= 0.4 <= estimate.high
    assert 0.88 <= held / 200 <= 1.0


def test_no_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="no scores"):
        bootstrap_mean([])


@pytest.mark.parametrize(
    ("successes", "n", "chance", "expected"),
    [
        (0, 10, 0.1, 1.0),
        (10, 10, 0.5, 0.5**10),
        (1, 1, 0.25, 0.25),
        (1, 2, 0.5, 0.75),
        (3, 3, 1.0, 1.0),
        (1, 3, 0.0, 0.0),
    ],
)
def test_the_binomial_tail_is_exact(successes: int, n: int, chance: float, expected: float) -> None:
    assert binomial_p(successes, n, chance) == pytest.approx(expected)


def test_the_binomial_tail_agrees_with_scipy_for_many_samples() -> None:
    from scipy.stats import binom

    for successes in (90, 130, 400):
        assert binomial_p(successes, 1000, 0.1) == pytest.approx(binom.sf(successes - 1, 1000, 0.1), rel=1e-9)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="5 successes out of 3"):
        binomial_p(5, 3, 0.1)
