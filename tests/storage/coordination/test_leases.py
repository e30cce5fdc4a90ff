"""Leases: never two inside, a dead holder is taken over from, on a disk, in memory and in a bucket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_storage.coordination import leases
from codi2_storage.coordination.active_runs import Busy, refuse
from codi2_storage.coordination.leases import LeaseLost, LeaseTaken, Record, Watch, lease, numbers
from codi2_storage.coordination.process_identity import Process, machine, started, this_process
from codi2_storage.coordination.runs import RUNNING, Run, dead, put
from codi2_storage.store import Store


@pytest.fixture(params=["local", "memory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "bucket":
        return Store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    return Store(tmp_path / "root" if request.param == "local" else f"memory://{tmp_path.name}")


def elsewhere(token: str = "other", beat: int = 0) -> Record:
    """A holder of whom we cannot know whether it lives."""
    return Record(token, Process("another machine", 1, "1"), "a run elsewhere", beat)


def test_who_comes_second_waits_and_says_for_whom(store: Store) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with lease(store, "build-x", ttl=5, say=said.append):
            order.append("second")

    with lease(store, "build-x", ttl=5, about="run one"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert said == [f"build-x: waiting for run one (pid {os.getpid()} on this machine)"]
    assert numbers(store, "build-x") == [2]  # tidied, but for the last


def test_waiting_may_have_an_end(store: Store) -> None:
    with lease(store, "a", ttl=5), pytest.raises(LeaseTaken, match="held by"), lease(store, "a", wait=0.1):
        pass
    with lease(store, "a", wait=0):
        pass


def test_a_holder_elsewhere_is_left_alone_while_it_beats_and_taken_over_when_it_stands_still(store: Store) -> None:
    assert leases.create(store, "a", 1, elsewhere())
    stop = threading.Event()

    def beats() -> None:
        beat = 0
        while not stop.wait(0.1):
            beat += 1
            store.write_bytes(leases.file_of("a", 1), elsewhere(beat=beat).to_json())

    thread = threading.Thread(target=beats)
    thread.start()
    with pytest.raises(LeaseTaken), lease(store, "a", ttl=0.8, wait=2.0):
        pass
    stop.set()
    thread.join()
    start = time.monotonic()
    with lease(store, "a", ttl=0.8):
        assert 0.7 < time.monotonic() - start < 3.0


def test_whoever_was_taken_over_from_learns_it_before_publishing(store: Store) -> None:
    with lease(store, "a", ttl=60) as held:
        held.check()
        assert leases.create(store, "a", held.number + 1, elsewhere())
        with pytest.raises(LeaseLost, match="a: another process took over"):
            held.check()
    assert leases.holder(store, "a") == elsewhere()  # its end leaves the other's word alone


def test_one_of_two_creates_and_a_late_creator_is_refused(store: Store) -> None:
    assert leases.create(store, "a", 1, elsewhere("one")) and not leases.create(store, "a", 1, elsewhere("two"))
    assert leases.create(store, "a", 5, elsewhere("five")) and not leases.create(store, "a", 3, elsewhere("late"))
    assert numbers(store, "a") == [1, 5]


def test_a_name_used_once_leaves_nothing(store: Store) -> None:
    with lease(store, "run-1", forget=True):
        assert store.list("leases/run-1")
    assert store.list("leases") == []


def test_a_half_written_word_is_waited_for_and_then_taken_over(store: Store) -> None:
    store.write_bytes(leases.file_of("a", 1), b'{"token": ')
    start = time.monotonic()
    with lease(store, "a", ttl=0.5) as held:
        assert held.number == 2 and time.monotonic() - start > 0.4


def test_a_store_that_is_away_costs_a_holder_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    with lease(store, "a", ttl=0.3) as held:
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").write_text("no folder")
        time.sleep(1.0)
        (tmp_path / "root").unlink()
        (tmp_path / "away").rename(tmp_path / "root")
        before = leases.holder(store, "a")
        time.sleep(1.5)
        after = leases.holder(store, "a")
        assert before and after and after.beat > before.beat
        held.check()


@given(looks=st.lists(st.tuples(st.floats(0.01, 100), st.booleans()), max_size=30))
@settings(deadline=None)
def test_a_beat_is_stale_only_after_enough_looks_at_the_same_one(looks: list[tuple[float, bool]]) -> None:
    """However far a machine's clock jumps between two looks, a look adds a second at most."""
    now, beat, same = 0.0, 0, 0
    watch = Watch(5.0, lambda: now)
    watch.stale(beat, most=1.0)
    for passed, beats in looks:
        now += passed
        beat += beats
        same = 0 if beats else same + 1
        if watch.stale(beat, most=1.0):
            assert same >= 5


INSIDE = """
import os, sys, time
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store
store, times, mark = Store(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for _ in range(times):
    with lease(store, "one", ttl=20, say=lambda text: None) as held:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # fails where another is inside
        time.sleep(0.02)
        held.check()
        os.unlink(mark)
print("in", times, flush=True)
"""
HOLD = """
import sys, time
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store
with lease(Store(sys.argv[1]), "one", ttl=60):
    print("holds", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_of_many_processes_never_two_are_inside(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root = str(tmp_path) if kind == "local" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    times = "3" if kind == "local" else "1"
    command = [sys.executable, "-c", INSIDE, root, times, str(tmp_path / "inside")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        out, error = process.communicate(timeout=60)
        assert out == f"in {times}\n", error


def test_the_next_enters_at_once_where_a_holder_of_this_machine_was_killed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "holds\n"
    process.send_signal(signal.SIGKILL)  # not waited for: a zombie has ended, too
    said: list[str] = []
    start = time.monotonic()
    with lease(Store(tmp_path), "one", ttl=60, say=said.append):
        assert time.monotonic() - start < 2
    assert "taken over from" in said[-1] and f"pid {process.pid}" in said[-1]
    process.wait()


def test_a_process_is_known_by_its_start_and_not_by_its_number_alone() -> None:
    ours = this_process()
    assert not ours.gone
    assert Process(machine(), ours.pid, "0").gone  # the number went to another
    assert not Process("another machine", ours.pid, "0").gone  # nobody can know
    assert started(2**22 + 1) is None


def test_a_copy_of_a_root_is_not_held_by_who_works_on_the_original(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    run = Run("build-dataset-1", "build-dataset", "{}", RUNNING, "2026-01-01")
    put(one, run)
    with lease(one, f"run-{run.run_id}", ttl=60):
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        with pytest.raises(Busy):
            refuse(one, ttl=0.2)
        refuse(two, ttl=0.2)  # nothing beats there
        assert dead(one, run.run_id) is None and dead(two, run.run_id) is None
        [file] = (tmp_path / "two/leases/run-build-dataset-1").iterdir()
        os.utime(file, (0, 0))  # as if copied long ago
        assert dead(two, run.run_id)
        (tmp_path / "link").symlink_to(tmp_path / "one")
        assert dead(Store(tmp_path / "link"), run.run_id) is None
