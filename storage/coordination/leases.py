"""Leases: of many who want to make the same thing, on any machines, one does; one that died is taken over from.

Numbered files `leases/<name>/<n>.json` on the store itself, each created by whoever finds it missing, which every store
can promise to one alone. The highest number holds. Its holder rewrites the file with a rising `beat`, and at the end says
that it is released. Others take over by creating the next number: at once where the holder is released, or ran on this
machine and has ended; else when its beat stood still for `ttl` seconds of their own watching. Nobody's clock is read.
The highest file is never removed while the name is in use, so numbers only rise.
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
from codi2_storage.locations.uris import identity
from codi2_storage.store import Store

FOLDER = "leases"
TTL = 30.0  # seconds without a beat until a holder counts as dead
POLL = 0.5  # seconds between two looks of one who waits
_held: dict[tuple[str, str], Held] = {}  # of this process, by store and name
_creating = threading.Lock()  # memory:// looks and creates in two steps


class LeaseLost(RuntimeError):
    """Another took the lease over while we stood still: what we made must not be published."""


class LeaseTaken(RuntimeError):
    """Another holds the lease, and the time to wait is over."""


@dataclass(frozen=True)
class Record:
    """What a lease's file says. `about`: who holds it, in words for people who wait. `place`: the hash of where its root lay."""

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
        """The next may enter at once."""
        return self.released or self.process.gone

    def alive(self, store: Store) -> bool:
        """Its process lives on this machine. Not known of one that works on another root, of which this is a copy, or on this
        one under another path: that beats, or does not."""
        return self.process.here and not self.process.gone and self.place in ("", place_of(store))

    def told(self) -> str:
        where = "on this machine" if self.process.here else "on another machine"
        return f"{self.about or 'a process'} (pid {self.process.pid} {where})"


class Held:
    """A lease that is ours. `check` before publishing what it guards."""

    def __init__(self, store: Store, name: str, number: int, record: Record, ttl: float) -> None:
        self.store, self.name, self.number, self.ttl = store, name, number, ttl
        self._record = record
        self._lost = False
        self._end = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)

    def check(self) -> None:
        """Raise LeaseLost if another took over. Asks the store, so it raises what that raises when it is away."""
        if self._lost or highest(self.store, self.name) > self.number:
            self._lost = True
            raise LeaseLost(f"{self.name}: another process took over while this one stood still; run it again")

    @property
    def lost(self) -> bool:
        """As the last beat found it."""
        return self._lost

    def start(self) -> None:
        self._thread.start()

    def release(self, forget: bool = False) -> None:
        """Let the next enter at once. `forget`: nobody will ask for this name again, so its files go."""
        self._end.set()
        self._thread.join()
        if self._lost:
            return
        try:
            if forget:
                self.store.remove(folder(self.name))
            else:
                self._write(released=True)
        except OSError as error:  # what was guarded is done: others need only wait until the beat is old
            to_stderr(f"{self.name}: not released ({error}); free after {self.ttl:g} s")

    def _beat(self) -> None:
        """A store that is away is asked again until it is back; the lease is lost only to another who took it."""
        pause = self.ttl / 6
        while not self._end.wait(pause):
            try:
                if highest(self.store, self.name) > self.number:
                    self._lost = True
                    return
                self._write()
                pause = self.ttl / 6
            except Exception:  # whatever a store raises while it is away; `check` is what fails
                pause = min(1.0, self.ttl / 6)

    def _write(self, released: bool = False) -> None:
        with self._writing:
            self._record = replace(self._record, beat=self._record.beat + 1, released=released)
            self.store.write_bytes(file_of(self.name, self.number), self._record.to_json())


class Watch:
    """Tells when a beat has stood still for `ttl` seconds of our own looking: time in which we did not look counts not."""

    def __init__(self, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.ttl, self.clock = ttl, clock
        self.seen: tuple[Any, ...] | None = None
        self.still = 0.0
        self.looked = 0.0

    def stale(self, *mark: Any, most: float) -> bool:
        """Look at a beat. `most`: seconds that a look may add, so that a sleeping machine does not count its sleep."""
        now = self.clock()
        self.still = self.still + min(now - self.looked, most) if mark == self.seen else 0.0
        self.seen, self.looked = mark, now
        return self.still >= self.ttl

    def blind(self) -> None:
        """The store could not be asked: begin anew, since the holder could not write either."""
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
) -> Iterator[Held]:
    """Hold the lease of `name` for the body; whoever comes second waits.

    `wait`: seconds at most, None for as long as it takes; then LeaseTaken. `about`: who we are, for those who wait.
    `forget`: the name is used once; its files go at the end. `say` is told whom we wait for (default: stderr).
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
    """`check` the lease of that name for those who do the work under it: nothing where this process never took it.

    Raises LeaseLost.
    """
    if held := _held.get((identity(store), name)):
        held.check()


def acquire(store: Store, name: str, ttl: float, wait: float | None, about: str, say: Callable[[str], None]) -> Held:
    """Wait until it is ours. Release it when done: `lease` does."""
    record = Record(uuid.uuid4().hex, this_process(), about, place=place_of(store))
    watch = Watch(ttl)
    poll = min(POLL, ttl / 5)
    began = time.monotonic()
    told: str | None = None
    while True:
        number, holder = look(store, name, watch)
        if number is not None:
            mark = (number, holder.token, holder.beat) if holder else (number,)
            free = number == 0 or (holder is not None and holder.over)
            if (free or watch.stale(*mark, most=4 * poll)) and create(store, name, number + 1, record):
                if holder is not None and not holder.released:
                    say(f"{name}: taken over from {holder.told()}, which ended without a word")
                tidy(store, name, number + 1)
                held = Held(store, name, number + 1, record, ttl)
                held.start()
                return held
            if holder is not None and not free and holder.token != told:
                say(f"{name}: waiting for {holder.told()}")
                told = holder.token
        if wait is not None and time.monotonic() - began >= wait:
            raise LeaseTaken(f"{name}: held by {holder.told() if holder else 'another'}; waited {wait:g} s")
        time.sleep(poll)


def look(store: Store, name: str, watch: Watch) -> tuple[int | None, Record | None]:
    """(highest number, its record), (0, None) where nobody ever held it; (None, None) where the store is away for now."""
    try:
        number = highest(store, name)
        return number, read(store, name, number) if number else None
    except Exception as error:
        if not is_transient(error):
            raise
        watch.blind()
        return None, None


def create(store: Store, name: str, number: int, record: Record) -> bool:
    """Create a number's file, as the only one who does. False where another was first, or is further already."""
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
    if highest(store, name) > number:  # we had looked long ago: what we created was tidied away since
        store.remove(file_of(name, number))
        return False
    return True


def refused(error: Exception) -> bool:
    """An object store's word for: it exists (412), or another is creating it (409)."""
    text = f"{error} {error.__cause__ or ''}"
    return any(mark in text for mark in ("PreconditionFailed", "pre-conditions", "ConditionalRequestConflict", "412"))


def highest(store: Store, name: str) -> int:
    return max(numbers(store, name), default=0)


def numbers(store: Store, name: str) -> list[int]:
    """The numbers there are."""
    path = store.path(folder(name))
    try:
        found = store.fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    names = [str(file).rpartition("/")[2].partition(".") for file in found]
    return sorted(int(stem) for stem, _, suffix in names if suffix == "json" and stem.isdigit())


def read(store: Store, name: str, number: int) -> Record | None:
    """A number's record; None where it is only half written, or tidied away meanwhile."""
    try:
        return Record.from_json(store.read_bytes(file_of(name, number)))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def tidy(store: Store, name: str, number: int) -> None:
    """Remove the numbers below ours."""
    for old in numbers(store, name):
        if old < number:
            with suppress(FileNotFoundError):  # who held it before us is late with the same
                store.fs.rm_file(store.path(file_of(name, old)))


def holder(store: Store, name: str) -> Record | None:
    """Who holds a lease now, or held it last: one look, no waiting. None where nobody ever did."""
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
