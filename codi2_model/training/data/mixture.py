"""Task mixture and data loader: a reproducible order of samples that depends only on the seed.

- The order belongs to the run and not to a worker: each rank takes every `world`-th sample of a batch. The number of
  workers and micro-batches does not change which samples form a step.
- Each task is read in shuffled epochs: a sample repeats only after all samples of the task were drawn.
- The state is a few counters, as of the last batch returned; batches prepared ahead do not count.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

Batch = TypeVar("Batch")
Item = TypeVar("Item")
State = dict[str, Any]
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Draw:
    """Sample `index` of a task. `number` counts all draws of the run and seeds the random choices of this draw."""

    task: str
    index: int
    number: int


class Mixture:
    """Endless sequence of draws.

    sizes: task -> number of samples. weights: task -> weight; tasks without samples are left out.
    early: (number of first draws, their weights). Raises ValueError if no task has samples.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        weights: Mapping[str, float],
        seed: int,
        early: tuple[int, Mapping[str, float]] = (0, {}),
    ) -> None:
        self.tasks = [task for task in sorted(weights) if sizes.get(task, 0) > 0]
        if not self.tasks:
            raise ValueError(f"no samples for any of the tasks {', '.join(sorted(weights)) or '(none named)'}")
        self.sizes = {task: sizes[task] for task in self.tasks}
        self.limits = self._limits(weights)
        self.early = early[0]
        self.early_limits = self._limits(early[1]) if early[0] else self.limits
        self.seed = seed
        self._drawn = 0
        self._taken = dict.fromkeys(self.tasks, 0)
        self._orders: dict[str, tuple[int, np.ndarray]] = {}
        self._block: tuple[int, np.ndarray] = (-1, np.zeros(0))

    def take(self, count: int) -> list[Draw]:
        """The next `count` draws. The sequence does not depend on how many are taken at a time."""
        draws = []
        for number in range(self._drawn, self._drawn + count):
            task = self.tasks[self._pick(number)]
            epoch, position = divmod(self._taken[task], self.sizes[task])
            draws.append(Draw(task, int(self._order(task, epoch)[position]), number))
            self._taken[task] += 1
        self._drawn += count
        return draws

    def _pick(self, number: int) -> int:
        """The task of a draw. Random numbers are drawn in blocks: one generator per draw would be slow."""
        block, position = divmod(number, BLOCK)
        if self._block[0] != block:
            self._block = (block, np.random.default_rng([self.seed, block]).random(BLOCK))
        limits = self.early_limits if number < self.early else self.limits
        return int(np.searchsorted(limits, self._block[1][position], side="right"))

    def _limits(self, weights: Mapping[str, float]) -> np.ndarray:
        """Upper limits of the tasks' shares in [0, 1]. Raises ValueError if no task has samples."""
        shares = np.cumsum([weights.get(task, 0.0) for task in self.tasks])
        if not shares[-1]:
            raise ValueError(f"no samples for any of the tasks {', '.join(sorted(weights))}")
        return shares[:-1] / shares[-1]

    def _order(self, task: str, epoch: int) -> np.ndarray:
        if task not in self._orders or self._orders[task][0] != epoch:
            rng = np.random.default_rng([self.seed, zlib.crc32(task.encode()), epoch])
            self._orders[task] = (epoch, rng.permutation(self.sizes[task]))
        return self._orders[task][1]

    def state_dict(self) -> State:
        return {"drawn": self._drawn, "taken": dict(self._taken), "sizes": dict(self.sizes), "seed": self.seed}

    def load_state_dict(self, state: State) -> None:
        """Load a state. Raises ValueError if it belongs to other data or another seed."""
        if state["sizes"] != self.sizes or state["seed"] != self.seed:
            raise ValueError(
                f"the saved state of the loader has samples {state['sizes']} and seed {state['seed']}; this run has {self.sizes} and {self.seed}"
            )
        self._drawn, self._taken = state["drawn"], dict(state["taken"])


def balanced(items: Sequence[Item], families: Sequence[str], power: float) -> list[Item]:
    """Repeat the items of small families, so that an epoch has a family of n items about n^(1 - power) times.

    power: 0 for every item once, 1 for all families alike. Items without a family are repeated like the largest family's.
    """
    sizes = Counter(family for family in families if family)
    largest = max(sizes.values(), default=1)
    repeats = [round((largest / sizes.get(family, largest)) ** power) for family in families]
    return [item for item, count in zip(items, repeats, strict=True) for _ in range(count)]


class StepBatches(NamedTuple, Generic[Batch]):
    """An optimiser step: the micro-batches of one rank, and the draws of all ranks."""

    batches: list[Batch]
    draws: list[Draw]


class Loader(Generic[Batch]):
    """Loads one rank's share of each step of a mixture, ahead of use in `workers` threads (0: in the caller).

    A step consists of `accumulation` micro-batches of `batch_size` samples. With `length` (tokens of a draw), samples of
    similar length share a micro-batch, to reduce padding. Raises ValueError if `world` does not divide `batch_size`.
    """

    def __init__(
        self,
        mixture: Mixture,
        load: Callable[[list[Draw]], Batch],
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        length: Callable[[Draw], int] | None = None,
    ) -> None:
        if batch_size % world:
            raise ValueError(
                f"batch size {batch_size} is not divisible by {world} workers; change batch_size, accumulation or the number of workers"
            )
        self.mixture, self.load, self.batch_size = mixture, load, batch_size
        self.rank, self.world, self.ahead = rank, world, workers + 1
        self.length = length
        self._pool = ThreadPoolExecutor(workers, "loader") if workers else None
        self._queue: deque[tuple[list[Future[Batch]], list[Draw], State]] = deque()
        self._state = mixture.state_dict()

    def step(self, accumulation: int = 1) -> StepBatches[Batch]:
        """Load the next optimiser step. `accumulation` must be the same for all steps of a loader."""
        if self._pool is None:
            draws, cuts = self._cut(accumulation)
            self._state = self.mixture.state_dict()
            return StepBatches([self.load(cut) for cut in cuts], draws)
        while len(self._queue) < self.ahead:
            draws, cuts = self._cut(accumulation)
            futures = [self._pool.submit(self.load, cut) for cut in cuts]
            self._queue.append((futures, draws, self.mixture.state_dict()))
        futures, draws, self._state = self._queue.popleft()
        return StepBatches([future.result() for future in futures], draws)

    def _cut(self, accumulation: int) -> tuple[list[Draw], list[list[Draw]]]:
        """The draws of the next step, and this rank's share of each micro-batch."""
        draws = self.mixture.take(self.batch_size * accumulation)
        if self.length is not None and accumulation > 1:
            draws.sort(key=self.length)
        starts = range(0, len(draws), self.batch_size)
        return draws, [draws[start : start + self.batch_size][self.rank :: self.world] for start in starts]

    def state_dict(self) -> State:
        """The state after the last step that `step` returned."""
        return self._state

    def load_state_dict(self, state: State) -> None:
        self.mixture.load_state_dict(state)
        self._queue.clear()
        self._state = state

    def close(self) -> None:
        """Stop the threads and drop batches that were prepared ahead."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
