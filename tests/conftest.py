"""Shared by all tests: one Ray for the session, one cache of sources, nothing that phones home."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("suite", deadline=None)  # tests share two cores: one that is slow is not wrong
settings.load_profile("suite")


# Files that take longest, these first: begun before all others, so that all processes end at about the same time.
LONGEST = (
    "flows/server/test_server.py",
    "codi2_model/evaluation/test_bench.py",
    "flows/test_stop.py",
    "codi2_model/serving/batch/test_generate_batch.py",
    "flows/test_drills.py",
    "flows/test_reproduce.py",
    "datasets/test_build.py",
    "codi2_model/training/test_run.py",
    "flows/test_retrain.py",
    "codi2_model/training/test_parallel.py",
    "codi2_model/serving/test_openapi.py",
    "codi2_model/serving/deploy/test_app.py",
    "codi2_model/serving/http/test_api.py",
    "codi2_model/serving/terminal/test_chat.py",
    "codi2_model/serving/page/test_page.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in LONGEST come first, all others in their order."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more process for every two cores, because tests also wait; four at most, because each may have a Ray of its own."""
    cores = os.cpu_count() or 1
    return min(4, cores + cores // 2)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray of two CPUs, on loopback."""
    from codi2_datasets.runtime.ray_executor import local_cluster

    with local_cluster(2):
        yield


@pytest.fixture(scope="session")
def chromium() -> ModuleType:
    """tests/codi2_model/serving/page/browser.py, which no package path leads to; skips where there is no Chromium."""
    path = Path(__file__).parent / "codi2_model" / "serving" / "page" / "browser.py"
    spec = importlib.util.spec_from_file_location("_codi2_test_browser", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.find_chromium() is None:
        pytest.skip("no chromium on this machine")
    return module


@pytest.fixture
def page(chromium: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """A page of a fresh browser."""
    with chromium.browser(tmp_path / "profile") as found:
        yield found


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds what keeps people from using a page; skips where npm cannot get it."""
    from codi2_datasets.sources.fetch import SourceUnavailable, fetch

    try:
        found = fetch("npm:axe-core@4.14.1#sha256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")
    except SourceUnavailable as error:
        pytest.skip(f"no axe-core: {error}")
    return (found.path / "package" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of a bucket of a real S3-speaking server; the environment leads there, that of processes started too."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")  # all servers of a process share their buckets
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()), "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(key, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(name)
        yield f"s3://{name}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="session")
def served() -> Callable[[Any], AbstractContextManager[str]]:
    """`with served(app) as address`: an ASGI app on a free port of the loopback address."""
    import uvicorn

    @contextmanager
    def serving(app: Any) -> Iterator[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)

    return serving
