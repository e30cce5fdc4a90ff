"""Runs tell the truth about themselves: rows from start to end, two at once, killed ones found, signals that end all."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from codi2_flows.runtime.logs import read_lines
from codi2_flows.runtime.record_run import record_run, retry_of
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.coordination import runs
from codi2_storage.coordination.runs import get, list_runs, mark_crashed
from codi2_storage.store import Store
from tests.processes import descendants


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "root") if request.param == "local" else f"memory://{tmp_path.name}"


def test_a_run_is_a_row_from_its_start_to_its_end(root: str) -> None:
    with record_run("build-dataset", root, {"recipe": "demo", "root": root, "workers": 2}) as run:
        [now] = Catalog(root).sql("select status, kind, workers, attempt, config from runs").to_pylist()
        assert (now["status"], now["kind"], now["workers"], now["attempt"]) == ("running", "build-dataset", 2, 1)
        assert json.loads(now["config"])["recipe"] == "demo"
        assert [one.status for one in list_runs(Store(root))] == ["running"]
        run.update(build_id="b1")
    [then] = Catalog(root).sql("select * from runs").to_pylist()
    assert then["status"] == "completed" and then["build_id"] == "b1" and then["ended_at"] >= then["created_at"]
    assert then["code_version"] and json.loads(then["environment"])["python"]
    assert Store(root).list("leases") == []  # a run's name is used once


def test_a_failure_is_told_with_its_reason_and_a_stop_as_cancelled(root: str) -> None:
    with pytest.raises(ValueError), record_run("a", root, {}):
        raise ValueError("first line\nsecond line")
    with pytest.raises(KeyboardInterrupt), record_run("b", root, {}):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    with pytest.raises(ValueError), record_run("d", root, {}):
        raise ValueError("workers failed:\n  a trace\nKeyError: 'image'")
    with pytest.raises(SystemExit), record_run("c", root, {}):
        sys.exit(1)
    found = {run.kind: (run.status, run.reason) for run in list_runs(Store(root))}
    assert found.pop("d")[1] == "ValueError: workers failed: KeyError: 'image'"
    assert found.pop("c") == ("failed", "SystemExit: 1")  # nobody asked for it
    assert found == {"a": ("failed", "ValueError: first line"), "b": ("cancelled", "stopped by SIGTERM")}
    assert signal.getsignal(signal.SIGTERM) is not None


def test_a_run_outlives_who_reads_what_it_prints(tmp_path: Path) -> None:
    """As of a Prefect worker that is killed: rich, with which Prefect logs, would end the process."""
    code = """
import sys, time
import codi2_flows.runtime.settings
from codi2_flows.runtime.record_run import record_run, retry_of
from rich.console import Console
with record_run("a", sys.argv[1], {}):
    console = Console(stderr=True)
    for number in range(30):
        console.print("still here")
        print("still here", flush=True)
        time.sleep(0.1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None and process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 0
    assert [run.status for run in list_runs(Store(str(tmp_path)))] == ["completed"]


def test_a_run_within_another_is_a_part_of_it_and_writes_to_its_stream(root: str) -> None:
    log = logging.getLogger("codi2.test")
    with record_run("whole", root, {}) as whole:
        log.info("before")
        with record_run("part", root, {}) as part:
            log.warning("inside", extra={"step": "x", "fields": {"done": 1}})
        log.info("after")
    log.info("nobody hears this")
    logging.getLogger("some.library").warning("nor this")
    lines, _ = read_lines(Store(root), whole.run_id)
    said = [(one["run"], one["message"], one["step"]) for one in lines if one["step"] in ("test", "x")]
    assert said == [(whole.run_id, "before", "test"), (part.run_id, "inside", "x"), (whole.run_id, "after", "test")]
    assert {"time", "level", "run", "flow", "step", "message", "fields"} == set(lines[0])
    assert get(Store(root), part.run_id).parent == whole.run_id  # type: ignore[union-attr]


KILLED = """
import os, signal, sys
import codi2_flows.runtime.settings
from codi2_flows.runtime.record_run import record_run, retry_of
with record_run("build-dataset", sys.argv[1], {"recipe": "x"}) as run:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_told_as_crashed_and_marked_by_the_next_of_its_kind(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    store = Store(tmp_path)
    [row] = Catalog(store).sql("select run_id, status from runs").to_pylist()
    assert row["status"] == "running"  # it could not say so itself
    [told] = list_runs(store)
    assert told.status == "crashed" and "was killed or died" in str(told.reason)
    with record_run("build-dataset", str(tmp_path), {"recipe": "another"}) as other:
        assert other.run.attempt == 1
    with record_run("build-dataset", str(tmp_path), {"recipe": "x"}) as run:
        assert run.run.attempt == 2
    found = {one.run_id: one.status for one in list_runs(store)}
    assert found == {row["run_id"]: "crashed", other.run_id: "completed", run.run_id: "completed"}
    rows = Catalog(store).sql("select status from runs where run_id = ?", [row["run_id"]]).to_pylist()
    assert rows == [{"status": "crashed"}]


def test_a_run_that_lives_is_not_buried_and_a_dead_one_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with record_run("a", str(tmp_path), {}) as run:
        assert mark_crashed(store, run.run, wait=0) is None
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    [dead] = [one for one in list_runs(store) if one.status == runs.CRASHED]
    marked = mark_crashed(store, dead, wait=0)
    assert marked is not None and marked.status == runs.CRASHED and marked.ended_at
    assert mark_crashed(store, dead, wait=0) is None
    with retry_of(marked), record_run("build-dataset", str(tmp_path), {"recipe": "x"}) as run:
        assert run.run.attempt == 2


def test_recording_costs_well_under_a_second(tmp_path: Path) -> None:
    with record_run("warm", str(tmp_path), {}):
        pass
    start = time.process_time()  # other work on this machine is not ours
    for _ in range(5):
        with record_run("a", str(tmp_path), {}):
            pass
    assert (time.process_time() - start) / 5 < 0.3


WORKING = """
import sys, time
import codi2_flows.runtime.settings
from codi2_datasets.runtime.ray_executor import local_cluster, ray_map
from codi2_flows.runtime.record_run import record_run, retry_of

def work(item):
    time.sleep(60)

try:
    with record_run("build-dataset", sys.argv[1], {}):
        with local_cluster(2):
            import ray
            print("works", flush=True)
            for _ in ray_map(work, range(8), 2):
                pass
except KeyboardInterrupt:
    sys.exit(1)
"""


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_ray_and_all_and_is_recorded(number: signal.Signals, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKING, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None and process.stdout.readline() == "works\n"
    while not descendants(process.pid, "ray::"):
        assert process.poll() is None
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("raylet" in child.name() for child in family)
    start = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive and time.monotonic() - start < 15
    [run] = list_runs(Store(tmp_path))
    assert (run.status, run.ended_at is not None) == ("cancelled", True)


def test_what_rays_workers_log_stands_in_the_stream_of_the_run(tmp_path: Path, ray_cluster: None) -> None:
    from codi2_datasets.runtime.ray_executor import ray_map

    def work(item: int) -> int:
        import logging

        logging.getLogger("some.library").warning("item %d is odd", item)
        logging.getLogger("codi2.work").info("did %d", item, extra={"step": "working", "fields": {"item": item}})
        logging.getLogger("some.library").info("not this")
        return item * 2

    with record_run("build-dataset", str(tmp_path), {}) as run:
        assert dict(ray_map(work, range(2), 1)) == {0: 0, 1: 2}
    lines, _ = read_lines(Store(tmp_path), run.run_id)
    said = [line for line in lines if "worker" in line["fields"]]
    found = sorted((line["message"], line["level"], line["step"], line["run"] == run.run_id) for line in said)
    assert found == [
        ("did 0", "info", "working", True), ("did 1", "info", "working", True),
        ("item 0 is odd", "warning", "some.library", True), ("item 1 is odd", "warning", "some.library", True),
    ]  # fmt: skip
    assert {line["fields"]["worker"] for line in said}.isdisjoint({os.getpid()})
