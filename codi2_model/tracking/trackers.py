"""Interface of trackers, the choice of them, and the run that they are told of, under its id in the catalog."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from codi2_datasets.runtime.plugins import LazyKind
from codi2_storage.errors import UsageError, nearest_hint

TRACKERS = LazyKind("trackers", "codi2_model.tracking.backends", "TRACKER")
VARIABLE = "CODI2_TRACKERS"  # names, separated by commas; trackers change no result, so they are no part of a config
PROJECT = "codi2"  # the project or experiment, unless a tracker's own variable names another


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers are told of it. Its id is that of `runs` in the catalog, so each leads to the other."""

    run_id: str
    kind: str
    """train or evaluate."""
    folder: Path | None = None
    """The run's own folder, if it has one, for trackers that write files there."""
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    """Ids of the catalog that the run refers to: build_id, checkpoint_id, ..."""

    def labels(self) -> dict[str, str]:
        """All ids, under names that no other tool uses."""
        return {
            f"codi2.{name}": value for name, value in {"run_id": self.run_id, "kind": self.kind, **self.tags}.items()
        }

    def parameters(self) -> dict[str, Any]:
        """The config, flat: {'mllm.steps': 50}."""
        return dict(_flat(self.config))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@dataclass(frozen=True)
class Point:
    """Values by name at a step. In a training, steps count within the stage, which begins the names: mllm/train/loss."""

    step: int
    values: Mapping[str, float]


class Tracker(ABC):
    """One run in one tracker. A run that is resumed opens the same one again."""

    package: ClassVar[str]
    """The package to import. Its name on the registry is `distribution`, if it is another."""
    distribution: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @abstractmethod
    def log(self, point: Point) -> None: ...

    def rewind(self, kept: Sequence[Point]) -> None:  # noqa: B027  (most trackers keep what they were told)
        """A resumed run goes back to the last of these points, and logs later ones again."""

    @abstractmethod
    def close(self, finished: bool) -> None:
        """Flush and end the run."""

    @classmethod
    def installed(cls) -> bool:
        return find_spec(cls.package) is not None


class Trackers:
    """Several trackers as one. One that fails is reported and left out from then on: it must not end a training."""

    def __init__(self, trackers: Iterable[Tracker] = ()) -> None:
        self._open = list(trackers)

    def log(self, point: Point) -> None:
        self._each(lambda tracker: tracker.log(point))

    def rewind(self, kept: Sequence[Point]) -> None:
        self._each(lambda tracker: tracker.rewind(kept))

    def close(self, finished: bool) -> None:
        self._each(lambda tracker: tracker.close(finished))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for tracker in list(self._open):
            try:
                call(tracker)
            except Exception as error:
                self._open.remove(tracker)
                print(f"warning: tracker {tracker.package} failed and is left out: {error}", file=sys.stderr)


def chosen_trackers() -> list[str]:
    """The names in CODI2_TRACKERS. Raises UsageError for an unknown one, or one whose package is not installed."""
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    for name in names:
        if name not in TRACKERS.names():
            known = TRACKERS.names()
            raise UsageError(
                f"{VARIABLE}: unknown tracker {name!r}; known: {', '.join(known)}{nearest_hint(name, known)}"
            )
        tracker: type[Tracker] = TRACKERS.part(name)
        if not tracker.installed():
            package = tracker.distribution or tracker.package
            raise UsageError(f"{VARIABLE}: {name} needs the package {package}: pip install 'codi2-open[{name}]'")
    return list(dict.fromkeys(names))


@contextmanager
def open_trackers(run: TrackedRun, if_installed: Sequence[str] = ()) -> Iterator[Trackers]:
    """The chosen trackers, and those of `if_installed` that can be used, with this run open; they are closed on exit."""
    names = dict.fromkeys([*(name for name in if_installed if TRACKERS.part(name).installed()), *chosen_trackers()])
    trackers = Trackers(TRACKERS.part(name)(run) for name in names)
    finished = False
    try:
        yield trackers
        finished = True
    finally:
        trackers.close(finished)
