"""What a killed Ray leaves is cleaned up; who merely reads its logs is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from codi2_datasets.runtime.ray_cleanup import reap_ray_processes, writers

KILLED = """
import os, signal
from codi2_datasets.runtime.ray_executor import local_cluster
with local_cluster(2):
    import ray
    print(ray.get_runtime_context().worker.node.get_session_dir_path(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def opened(path: Path, mode: str) -> subprocess.Popen[str]:
    code = f"import time; file = open({str(path)!r}, {mode!r}); print('open', flush=True); time.sleep(100)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def test_who_writes_under_the_folder_ends_with_the_block_and_who_reads_does_not(tmp_path: Path) -> None:
    (tmp_path / "read.log").write_text("")
    writing, reading = opened(tmp_path / "write.log", "a"), opened(tmp_path / "read.log", "r")
    try:
        assert [process.pid for process in writers(str(tmp_path))] == [writing.pid]
        with reap_ray_processes(tmp_path), (tmp_path / "own.log").open("w"):  # we ourselves write there, too
            assert writing.poll() is None
        assert writing.wait(10) == -signal.SIGKILL and reading.poll() is None
    finally:
        reading.kill()
        writing.kill()
        reading.wait()


def test_of_a_killed_driver_nothing_of_ray_stays() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=environment)
    session = done.stdout.strip()
    assert done.returncode == -signal.SIGKILL and "session_" in session
    end = time.monotonic() + 30
    while writers(session) and time.monotonic() < end:
        time.sleep(0.3)
    assert not writers(session)
