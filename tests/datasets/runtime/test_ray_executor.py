"""The engine: every item once, errors as they were, lost workers replaced."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from codi2_datasets.media import MediaError
from codi2_datasets.runtime.ray_executor import (
    LOOPBACK_ENVIRONMENT,
    OwnPaths,
    RayAddressError,
    check_address,
    quiet_ray_home,
    ray_map,
)


def square(n: int) -> int:
    return n * n


def refuse(n: int) -> int:
    raise MediaError(f"item {n} is broken")


def die_once(item: tuple[str, int]) -> int:
    folder, n = item
    mark = Path(folder) / str(n)
    if n == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return n


def test_every_item_comes_back_once(ray_cluster: None) -> None:
    assert sorted(ray_map(square, range(20), 2)) == [(n, n * n) for n in range(20)]
    assert list(ray_map(square, [], 2)) == []


def test_an_error_is_raised_as_it_was(ray_cluster: None) -> None:
    with pytest.raises(MediaError, match=r"item \d is broken"):
        list(ray_map(refuse, range(4), 2))


def test_a_lost_worker_loses_no_item(ray_cluster: None, tmp_path: Path) -> None:
    items = [(str(tmp_path), n) for n in range(6)]
    assert sorted(result for _, result in ray_map(die_once, items, 2)) == list(range(6))


def test_ray_is_told_that_it_is_local(ray_cluster: None) -> None:
    assert all(os.environ[name] == value for name, value in LOOPBACK_ENVIRONMENT.items())
    assert "provider: {type: local}" in (quiet_ray_home() / "ray_bootstrap_config.yaml").read_text()
    assert Path.home() != quiet_ray_home()


def test_a_few_items_do_without_ray_and_more_start_it() -> None:
    code = (
        "import os, sys\n"
        "from codi2_datasets.runtime.ray_executor import FEW, cluster_when_needed, ray_map\n"
        "with cluster_when_needed(2):\n"
        "    few = dict(ray_map(lambda n: -n, range(-FEW, 0), 2))\n"
        "    assert few == {-n: n for n in range(1, FEW + 1)} and 'ray' not in sys.modules\n"
        "    many = dict(ray_map(lambda n: -n, range(-FEW - 1, 0), 2))\n"
        "    assert len(many) == FEW + 1 and sys.modules['ray'].is_initialized()\n"
        "assert not sys.modules['ray'].is_initialized()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


STARTS = """
import threading, time
import psutil
from codi2_datasets.runtime.ray_executor import local_cluster

def kill_the_first() -> None:
    while True:
        for child in psutil.Process().children(recursive=True):
            if child.name() == "gcs_server":
                child.kill()
                return
        time.sleep(0.01)

threading.Thread(target=kill_the_first).start()
with local_cluster(1):
    import ray
    print(ray.get(ray.remote(lambda: 7).remote()))
"""


@pytest.mark.slow
def test_a_ray_that_does_not_come_up_is_started_once_more() -> None:
    done = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True, timeout=280)
    assert done.stdout.strip() == "7", done.stderr


def test_workers_look_for_modules_where_this_process_does_and_not_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here")])
    paths = OwnPaths()
    paths.extend([str(tmp_path), str(tmp_path / "here")])
    assert paths == [str(tmp_path / "here")]


def test_a_ray_address_where_nobody_answers_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_address(f"127.0.0.1:{port}")
        check_address(f"ray://127.0.0.1:{port}")
    check_address("auto")
    with pytest.raises(RayAddressError, match=f"RAY_ADDRESS=127.0.0.1:{port}: no Ray answers there"):
        check_address(f"127.0.0.1:{port}")
