"""Coverage of bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from codi2_model.evaluation.statistics import bootstrap_mean


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
