"""The order of samples: seeded, shared by ranks, resumed exactly."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest

from codi2_model.training.data.mixture import Draw, Loader, Mixture, balanced

SIZES, WEIGHTS = {"a": 7, "b": 5, "empty": 0}, {"a": 3.0, "b": 1.0, "empty": 9.0, "absent": 9.0}


def identity(draws: list[Draw]) -> list[Draw]:
    return draws


def slow(draws: list[Draw]) -> list[Draw]:
    time.sleep(0.002 * (draws[0].number % 3))
    return draws


def test_every_sample_comes_once_before_any_comes_twice() -> None:
    draws = Mixture(SIZES, WEIGHTS, seed=0).take(400)
    for task, size in (("a", 7), ("b", 5)):
        order = [draw.index for draw in draws if draw.task == task]
        epochs = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_tasks_are_drawn_by_weight_and_those_without_samples_left_out() -> None:
    counts = Counter(draw.task for draw in Mixture(SIZES, WEIGHTS, seed=1).take(4000))
    assert set(counts) == {"a", "b"}
    assert counts["a"] == pytest.approx(3000, abs=120)


def test_no_samples_at_all_is_an_error_that_names_the_tasks() -> None:
    with pytest.raises(ValueError, match="no samples for any of the tasks absent"):
        Mixture(SIZES, {"absent": 1.0}, seed=0)


def test_the_seed_decides_the_order() -> None:
    first, again, other = (Mixture(SIZES, WEIGHTS, seed).take(50) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_that_one_worker_would_see(world: int) -> None:
    whole = Loader(Mixture(SIZES, WEIGHTS, 0), identity, 6)
    shares = [Loader(Mixture(SIZES, WEIGHTS, 0), identity, 6, rank, world) for rank in range(world)]
    for _ in range(10):
        parts = [draw for share in shares for draw in share.step().batches[0]]
        assert sorted(parts, key=lambda draw: draw.number) == whole.step().batches[0]


def test_a_batch_that_ranks_cannot_share_evenly_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"batch size 6 .* 4 workers"):
        Loader(Mixture(SIZES, WEIGHTS, 0), identity, 6, 0, 4)


def test_threads_change_nothing_about_the_order() -> None:
    plain = Loader(Mixture(SIZES, WEIGHTS, 0), slow, 4)
    threaded = Loader(Mixture(SIZES, WEIGHTS, 0), slow, 4, workers=3)
    assert [plain.step() for _ in range(20)] == [threaded.step() for _ in range(20)]
    threaded.close()


def test_micro_batches_hold_samples_of_like_lengths_and_a_step_the_same_samples_as_ever() -> None:
    plain = Loader(Mixture(SIZES, WEIGHTS, 0), identity, 4)
    sorted_ = Loader(Mixture(SIZES, WEIGHTS, 0), identity, 4, length=lambda draw: draw.index)
    for _ in range(5):
        one, two = plain.step(3), sorted_.step(3)
        lengths = [[draw.index for draw in batch] for batch in two.batches]
        assert [len(batch) for batch in lengths] == [4, 4, 4]
        assert all(max(first) <= min(second) for first, second in itertools.pairwise(lengths))
        assert sorted(two.draws, key=lambda draw: draw.number) == one.draws


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loaded_state_goes_on_with_the_next_batch_not_with_one_prepared_ahead(workers: int) -> None:
    loader = Loader(Mixture(SIZES, WEIGHTS, 0), identity, 4, workers=workers)
    for _ in range(5):
        loader.step()
    state = loader.state_dict()
    expected = [loader.step() for _ in range(5)]
    resumed = Loader(Mixture(SIZES, WEIGHTS, 0), identity, 4, workers=workers)
    resumed.load_state_dict(state)
    assert [resumed.step() for _ in range(5)] == expected
    for each in (loader, resumed):
        each.close()


def test_a_state_of_other_data_is_refused() -> None:
    state = Mixture(SIZES, WEIGHTS, 0).state_dict()
    with pytest.raises(ValueError, match="state of the loader"):
        Mixture({"a": 8, "b": 5}, WEIGHTS, 0).load_state_dict(state)


def test_the_first_draws_may_come_of_other_weights() -> None:
    mixture = Mixture(SIZES, WEIGHTS, seed=0, early=(50, {"b": 1.0}))
    draws = mixture.take(400)
    assert {draw.task for draw in draws[:50]} == {"b"}
    assert {draw.task for draw in draws[50:]} == {"a", "b"}


def test_draws_are_the_same_however_many_are_taken_at_a_time() -> None:
    whole = Mixture(SIZES, WEIGHTS, seed=3).take(2400)
    parts = Mixture(SIZES, WEIGHTS, seed=3)
    assert [draw for size in (1, 7, 1000, 92, 1300) for draw in parts.take(size)] == whole


@pytest.mark.parametrize(("power", "counts"), [(0.0, (1, 1, 1)), (0.5, (4, 2, 1)), (1.0, (16, 4, 1))])
def test_works_of_small_families_are_repeated_by_the_power_of_the_balance(
    power: float, counts: tuple[int, ...]
) -> None:
    families = ["rare", *["few"] * 4, *["many"] * 16, ""]
    drawn = Counter(balanced(range(len(families)), families, power))
    assert [drawn[number] for number in (0, 1, 5)] == list(counts)
    assert drawn[len(families) - 1] == 1, "without a family"
