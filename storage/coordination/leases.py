"""Distributed leases with takeover from dead holders: one process at a time, on any machine, makes a given thing.

A lease is a numbered file `leases/<name>/<n>.json` on the store itself, created only if it does not exist, which every
store can guarantee to a single process. The highest number holds the lease. Its holder rewrites the file with a rising
heartbeat counter (`beat`), and marks it as released at the end. Others take over by creating the next number: at once
if the holder released it, or ran on this machine and has ended; otherwise when the heartbeat has not changed for `ttl`
seconds of their own observation. No clocks are compared between machines. The highest file is never removed while the
name is in use, so numbers only rise.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codi2_storage.coordination.process_identity import Process, this_process
from codi2_storage.coordination.transient_errors import is_transient
from codi2_storage.store import Store
from codi2_storage.uris import identity

FOLDER = "leases"
TTL = 30.0  # seconds without a heartbeat after which a holder counts as dead
POLL = 0.5  # seconds between two checks of a waiting process
_held: dict[tuple[str, str], Lease] = {}  # leases of this process, by store and name
_creating = threading.Lock()  # memory:// checks and creates in two steps


class LeaseLost(RuntimeError):
    """Another process took the lease over while this one was suspended or could not write: the result must not be published."""


class LeaseTaken(RuntimeError):
    """Another process holds the lease, and the time to wait is over."""


@dataclass(frozen=True)
class Record:
    """The content of a lease file.

    `about`: the holder in words, for messages. `beat`: heartbeat counter. `place`: hash of the root's location.
    """

    token: str
    process: Process
    about: str
    beat: int = 0
    released: bool = False
    place: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        fields = json.loads(data)
        return cls(**{**fields, "process": Process(**fields["process"])})

    @property
    def over(self) -> bool:
        """Whether the next process may take the lease at once."""
        return self.released or self.process.gone

    def alive(self, store: Store) -> bool:
        """Whether its process is alive on this machine.

        False also if that cannot be decided here: the process works on another root, of which this one is a copy, or on
        this root under another path. Its heartbeat decides then.
        """
        return self.process.here and not self.process.gone and self.place in ("", place_of(store))

    def describe(self) -> str:
        where = "on this machine" if self.process.here else "on another machine"
        return f"{self.about or 'a process'} (pid {self.process.pid} {where})"


class Lease:
    """A lease that this process holds. Call `check` before publishing what it guards."""

    def __init__(self, store: Store, name: str, number: int, record: Record, ttl: float) -> None:
        self.store, self.name, self.number, self.ttl = store, name, number, ttl
        self._record = record
        self._lost = False
        self._end = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)

    def check(self) -> None:
        """Raise LeaseLost if another process took over.

        It reads the store, so a store that is unreachable raises its own error.
        """
        if self._lost or highest(self.store, self.name) > self.number:
            self._lost = True
            raise LeaseLost(
                f"{self.name}: another process took over while this one was suspended or could not write; run it again"
            )

    @property
    def lost(self) -> bool:
        """Whether another process had taken over at the last heartbeat."""
        return self._lost

    def start(self) -> None:
        self._thread.start()

    def release(self, forget: bool = False) -> None:
        """Release the lease. `forget`: the name will not be used again, so its files are removed."""
        self._end.set()
        self._thread.join()
        if self._lost:
            return
        try:
            if forget:
                self.store.remove(folder(self.name))
            else:
                self._write(released=True)
        except OSError as error:  # the guarded work is done: others only have to wait until the heartbeat is stale
            to_stderr(f"{self.name}: not released ({error}); free after {self.ttl:g} s")

    def _beat(self) -> None:
        """Write heartbeats. An unreachable store is tried again; the lease is lost only when another process took it."""
        pause = self.ttl / 6
        while not self._end.wait(pause):
            try:
                if highest(self.store, self.name) > self.number:
                    self._lost = True
                    return
                self._write()
                pause = self.ttl / 6
            except Exception:  # any error of an unreachable store; `check` is what fails
                pause = min(1.0, self.ttl / 6)

    def _write(self, released: bool = False) -> None:
        with self._writing:
            self._record = replace(self._record, beat=self._record.beat + 1, released=released)
            self.store.write_bytes(file_of(self.name, self.number), self._record.to_json())


class Watch:
    """Measures how long a heartbeat has not changed. Only time during which this process polled counts."""

    def __init__(self, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.ttl, self.clock = ttl, clock
        self.seen: tuple[Any, ...] | None = None
        self.still = 0.0
        self.looked = 0.0

    def stale(self, *mark: Any, most: float) -> bool:
        """Record a look at a heartbeat; return whether it has not changed for `ttl` seconds.

        `most`: seconds that one look may add, so that time in which the machine slept does not count.
        """
        now = self.clock()
        self.still = self.still + min(now - self.looked, most) if mark == self.seen else 0.0
        self.seen, self.looked = mark, now
        return self.still >= self.ttl

    def reset(self) -> None:
        """Start again after the store was unreachable, since the holder could not write either."""
        self.seen = None


@contextmanager
def lease(
    store: Store,
    name: str,
    ttl: float = TTL,
    wait: float | None = None,
    about: str = "",
    forget: bool = False,
    say: Callable[[str], None] | None = None,
) -> Iterator[Lease]:
    """Hold the lease of `name` during the body; a second process waits.

    `wait`: seconds at most, None for no limit; then LeaseTaken is raised. `about`: this process in words, for those
    that wait. `forget`: the name is used once, so its files are removed at the end. `say` receives the messages about
    waiting and takeover (default: stderr).
    """
    held = acquire(store, name, ttl, wait, about, say or to_stderr)
    key = identity(store), name
    _held[key] = held
    try:
        yield held
    finally:
        del _held[key]
        held.release(forget)


def still_ours(store: Store, name: str) -> None:
    """Raise LeaseLost if the lease of that name was taken over; do nothing if this process never held it.

    For code that works under a lease which its caller holds.
    """
    if held := _held.get((identity(store), name)):
        held.check()


def acquire(store: Store, name: str, ttl: float, wait: float | None, about: str, say: Callable[[str], None]) -> Lease:
    """Wait for the lease and start its heartbeat. The caller must release it, as `lease` does. Raises LeaseTaken."""
    record = Record(uuid.uuid4().hex, this_process(), about, place=place_of(store))
    watch = Watch(ttl)
    poll = min(POLL, ttl / 5)
    began = time.monotonic()
    announced: str | None = None
    while True:
        number, holder = look(store, name, watch)
        if number is not None:
            mark = (number, holder.token, holder.beat) if holder else (number,)
            free = number == 0 or (holder is not None and holder.over)
            if (free or watch.stale(*mark, most=4 * poll)) and create(store, name, number + 1, record):
                if holder is not None and not holder.released:
                    say(f"{name}: taken over from {holder.describe()}, which ended without releasing the lease")
                tidy(store, name, number + 1)
                held = Lease(store, name, number + 1, record, ttl)
                held.start()
                return held
            if holder is not None and not free and holder.token != announced:
                say(f"{name}: waiting for {holder.describe()}")
                announced = holder.token
        if wait is not None and time.monotonic() - began >= wait:
            raise LeaseTaken(f"{name}: held by {holder.describe() if holder else 'another'}; waited {wait:g} s")
        time.sleep(poll)


def look(store: Store, name: str, watch: Watch) -> tuple[int | None, Record | None]:
    """(highest number, its record); (0, None) if nobody ever held it; (None, None) if the store is unreachable for now."""
    try:
        number = highest(store, name)
        return number, read(store, name, number) if number else None
    except Exception as error:
        if not is_transient(error):
            raise
        watch.reset()
        return None, None


def create(store: Store, name: str, number: int, record: Record) -> bool:
    """Create the file of a number exclusively. False if another process was first, or is already further."""
    path = store.path(file_of(name, number))
    if store.is_local:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        if store.is_local:
            with open(path, "xb") as file:
                file.write(record.to_json())
        else:
            with _creating:
                store.fs.pipe_file(path, record.to_json(), mode="create")
    except FileExistsError:
        return False
    except Exception as error:
        if refused(error):
            return False
        raise
    if (
        highest(store, name) > number
    ):  # the listing was stale: the created file's number has been used and removed since
        store.remove(file_of(name, number))
        return False
    return True


def refused(error: Exception) -> bool:
    """Whether an object store's error means that the file exists (412) or that another process is creating it (409)."""
    text = f"{error} {error.__cause__ or ''}"
    return any(mark in text for mark in ("PreconditionFailed", "pre-conditions", "ConditionalRequestConflict", "412"))


def highest(store: Store, name: str) -> int:
    return max(numbers(store, name), default=0)


def numbers(store: Store, name: str) -> list[int]:
    """The numbers that exist, ascending."""
    path = store.path(folder(name))
    try:
        entries = store.fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    names = [str(file).rpartition("/")[2].partition(".") for file in entries]
    return sorted(int(stem) for stem, _, suffix in names if suffix == "json" and stem.isdigit())


def read(store: Store, name: str, number: int) -> Record | None:
    """The record of a number; None if it is half written or was removed."""
    try:
        return Record.from_json(store.read_bytes(file_of(name, number)))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def tidy(store: Store, name: str, number: int) -> None:
    """Remove the numbers below this process's own."""
    for old in numbers(store, name):
        if old < number:
            with suppress(FileNotFoundError):  # the previous holder may be removing the same file
                store.fs.rm_file(store.path(file_of(name, old)))


def holder(store: Store, name: str) -> Record | None:
    """The current or last holder of a lease, without waiting. None if nobody ever held it."""
    number = highest(store, name)
    return read(store, name, number) if number else None


def place_of(store: Store) -> str:
    return hashlib.sha256(identity(store).encode()).hexdigest()[:16]


def folder(name: str) -> str:
    return f"{FOLDER}/{name}"


def file_of(name: str, number: int) -> str:
    return f"{folder(name)}/{number:08d}.json"


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
