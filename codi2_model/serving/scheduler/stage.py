"""A stage of the pipeline: a queue with threads that run waiting jobs in batches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

log = logging.getLogger(__name__)


class Job(Protocol):
    """A job of a stage."""

    @property
    def cancelled(self) -> bool: ...

    def fail(self, error: BaseException) -> None: ...


J = TypeVar("J", bound=Job)


class Stage(Generic[J]):
    """Runs jobs with equal `key` together, at most `max_batch`, oldest first. Cancelled jobs are skipped.

    A job that arrives while a batch runs waits for the next one, unless `run` takes it with `more`. `workers`: number of
    threads, which share the waiting jobs. If `run` raises, only the jobs of its batch fail.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[list[J]], None],
        key: Callable[[J], Hashable],
        max_batch: int = 8,
        workers: int = 1,
    ) -> None:
        self.name, self.max_batch, self.batches, self.jobs = name, max_batch, 0, 0
        self._run, self._key, self._workers = run, key, workers
        self._waiting: deque[J] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"codi2-{name}-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: J) -> None:
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def waiting(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """End the threads after their current batches."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=30)

    def more(self, most: int) -> list[J]:
        """Take up to `most` waiting jobs for a running batch."""
        return self._take(most) if most > 0 and self._waiting else []

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
            if batch := self._take(min(self.max_batch, -(-len(self._waiting) // self._workers))):
                self.batches += 1
                self._guarded(batch)

    def _take(self, most: int) -> list[J]:
        with self._changed:
            batch: list[J] = []
            kept: deque[J] = deque()
            key: Hashable = None
            while self._waiting:
                job = self._waiting.popleft()
                if job.cancelled:
                    continue
                if not batch:
                    key = self._key(job)
                if len(batch) < most and (not batch or self._key(job) == key):
                    batch.append(job)
                else:
                    kept.append(job)
            self._waiting = kept
            self.jobs += len(batch)
            return batch

    def _guarded(self, batch: list[J]) -> None:
        try:
            self._run(batch)
        except Exception as error:
            log.exception("stage %s failed on %d jobs", self.name, len(batch))
            for job in batch:
                job.fail(error)
