"""Ctrl-C in a terminal, SIGTERM and a closed window end every command within ten seconds, with one line, and leave nothing behind."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from PIL import Image, ImageDraw

from codi2_datasets import build as library
from codi2_storage.coordination.runs import list_runs
from codi2_storage.store import Store

CORPUS = {"name": "webdataset", "path": "tars", "options": {"licence": "CC-BY-4.0"}}
RECIPE = {
    "name": "circles",
    "seed": 3,
    "image": {"size": 32},
    "splits": {
        "test_concepts": 0.3,
        "validation_concepts": 0.0,
        "test_combinations": 0.2,
        "validation_combinations": 0.1,
    },
    "signals": [{"op": "length"}],
    "corpora": [CORPUS],
    "tasks": {
        "text_to_image": {"train": 40, "validation": 4, "test": 8},
        "image_captioning": {"train": 40, "validation": 4, "test": 8},
    },
}
STOPPED = "codi2: stopped; run the same command again to continue"
SLOW = pytest.mark.slow
BUILD = ["build", "many.yaml", "--workers", "2", "--root"]
SERVER = ["server", "--root", "root", "--recipe", "circles.yaml", "--config", "test", "--port", "0", "--page-port", "0",
          "--model-port", "0", "--every", "1h"]  # fmt: skip
ENDING = ["ending; runs under way are told to stop", "ended"]
COMMANDS = [
    pytest.param("ctrl-c", [*BUILD, "new"], "ingest", 1, [STOPPED], id="build"),
    pytest.param("SIGTERM", [*BUILD, "new 2"], "ingest", 1, [STOPPED], id="build SIGTERM", marks=SLOW),
    pytest.param("SIGHUP", [*BUILD, "new 3"], "ingest", 1, [STOPPED], id="build SIGHUP", marks=SLOW),
    pytest.param("ctrl-c", ["train", "test", "--root", "root"], "train align", 1, [STOPPED], id="train", marks=SLOW),
    pytest.param(
        "ctrl-c", ["retrain", "circles.yaml", "--config", "test", "--root", "root"], "train align", 1, [STOPPED], id="retrain", marks=SLOW,
    ),
    pytest.param("ctrl-c", ["evaluate", "--root", "root", "--limit", "99"], "answer", 1, [STOPPED], id="evaluate", marks=SLOW),
    pytest.param("ctrl-c", ["generate", "requests.jsonl", "--out", "out", "--root", "none"], "generate", 1, [STOPPED], id="generate", marks=SLOW),
    pytest.param("SIGTERM", ["generate", "requests.jsonl", "--out", "out", "--root", "none"], "generate", 1, [STOPPED], id="generate SIGTERM", marks=SLOW),
    pytest.param(
        "ctrl-c", ["fetch", "list.txt", "--out", "fetched", "--allow-host", "127.0.0.1"], "fetch", 1, [STOPPED], id="fetch",
    ),
    pytest.param("ctrl-c", ["serve", "--port", "0", "--root", "none"], "Ctrl-C stops it", 0, ["codi2: shutting down"], id="serve"),
    pytest.param("SIGTERM", ["serve", "--port", "0", "--root", "none"], "Ctrl-C stops it", 0, ["codi2: shutting down"], id="serve SIGTERM", marks=SLOW),
    pytest.param("ctrl-c", SERVER, "codi2 browse: ", 0, ENDING, id="server", marks=SLOW),
    pytest.param("SIGTERM", SERVER, "codi2 browse: ", 0, ENDING, id="server SIGTERM", marks=SLOW),
    pytest.param("ctrl-c", ["browse", "--port", "0", "--root", "root"], "Look at http", 0, ["codi2: stopped"], id="browse"),
    pytest.param("ctrl-c", ["chat", "--root", "none"], "> $", 0, [], id="chat"),
    pytest.param("SIGTERM", ["chat", "--root", "none"], "> $", 1, [STOPPED], id="chat SIGTERM", marks=SLOW),
]  # fmt: skip


@pytest.fixture(scope="module")
def terminal() -> ModuleType:
    """tests/flows/terminal.py, which no package path leads to."""
    spec = importlib.util.spec_from_file_location("_codi2_test_terminal", Path(__file__).with_name("terminal.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A recipe, a root built of it, requests, and a list whose only host never answers."""
    folder = tmp_path_factory.mktemp("stop")
    (folder / "circles.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "tars").mkdir()
    (folder / "many").mkdir()
    (folder / "many.yaml").write_text(
        yaml.safe_dump({**RECIPE, "name": "many", "corpora": [{**CORPUS, "path": "many"}]})
    )
    write_tar(folder / "tars" / "0.tar", 40)
    for shard in range(30):
        write_tar(folder / "many" / f"{shard}.tar", 60, 60 * shard)
    request = {"messages": [{"role": "user", "content": "Draw a dog."}], "modalities": ["image", "audio"]}
    (folder / "requests.jsonl").write_text(f"{json.dumps(request)}\n" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # from where the commands find the corpus
        library.build(library.Settings("circles.yaml", "root", workers=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = (f"http://127.0.0.1:{silent.getsockname()[1]}/{n}.jpg\n" for n in range(8))
        (folder / "list.txt").write_text("".join(urls))
        yield folder


def write_tar(path: Path, count: int, first: int = 0) -> None:
    with tarfile.open(path, "w") as archive:
        for number in range(first, first + count):
            for name, data in (
                (f"{number}.jpg", circle(number)),
                (f"{number}.txt", f"circle number {number}".encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def circle(number: int) -> bytes:
    image = Image.new("RGB", (48, 48), (number % 250, 250 - number % 250, number // 8 % 250))
    ImageDraw.Draw(image).ellipse((4, 4, 12 + number % 32, 40), fill="navy")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(("how", "arguments", "ready", "status", "lines"), COMMANDS)
def test_a_command_ends_in_time_with_one_line_and_leaves_nothing(
    how: str,
    arguments: list[str],
    ready: str,
    status: int,
    lines: list[str],
    folder: Path,
    terminal: Any,
    monkeypatch: pytest.MonkeyPatch,
    temporary: Path,
    record_property: Any,
) -> None:
    monkeypatch.setenv("CODI2_SERVER_HOME", str(folder / "home"))
    window = terminal.Terminal(*arguments, folder=folder)
    try:
        window.wait_for(ready)
        time.sleep(1)  # a prompt is written before anything listens
        seconds, shown = window.stop(how)
        record_property("seconds", round(seconds, 1))
        assert (window.process.returncode, seconds < 10) == (status, True), (seconds, shown)
        shown = shown[-2:] if arguments[0] == "server" else shown  # before, a run may have begun
        assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in shown] == lines
        assert window.left_behind() == []
    finally:
        window.close()
    assert not list(temporary.glob("codi2-ray-*"))  # Ray's sockets
    for root in ("root", "new", "new 2", "new 3"):
        assert held(Store(folder / root), window.process.pid) == []


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the command's own, short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="stop-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def held(store: Store, pid: int) -> list[str]:
    """Leases that a process did not release."""
    found = []
    for name in store.list("leases"):
        record = json.loads(store.read_bytes(name))
        if record["process"]["pid"] == pid and not record["released"]:
            found.append(name)
    return found


def test_a_second_ctrl_c_does_not_wait(folder: Path, terminal: Any) -> None:
    code = """
import time
from codi2_storage.host.shutdown import leave, listen
listen()
try:
    print("working", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("cleaning up", flush=True)
    time.sleep(60)
"""
    window = terminal.Terminal(folder=folder, program=["-c", code])
    try:
        window.wait_for("working")
        terminal.os.write(window.master, b"\x03")
        window.wait_for("cleaning up")
        seconds, shown = window.stop("ctrl-c")
        assert seconds < 3 and shown == ["codi2: stopped; what did not end by itself was ended by force"]
        assert window.process.returncode == 1
    finally:
        window.close()


def test_a_signal_that_comes_where_python_ignores_exceptions_is_raised_once_more(folder: Path, terminal: Any) -> None:
    code = """
import time
from codi2_storage.host.shutdown import listen
class Slow:
    def __del__(self):
        print("working", flush=True)
        time.sleep(60)
listen()
try:
    Slow()
    time.sleep(60)
except KeyboardInterrupt as error:
    print(error, flush=True)
"""
    window = terminal.Terminal(folder=folder, program=["-c", code])
    try:
        window.wait_for("working")
        seconds, shown = window.stop("ctrl-c")
        assert seconds < 3 and shown == ["stopped by Ctrl-C"] and window.process.returncode == 0
    finally:
        window.close()


def test_what_does_not_end_by_itself_is_ended_by_force_and_its_end_recorded(tmp_path: Path) -> None:
    code = """
import sys, time
from codi2_flows.runtime.record_run import record_run
from codi2_storage.host.shutdown import listen
listen()
with record_run("build-dataset", sys.argv[1], {}):
    print("working", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""
    environment = {**os.environ, "CODI2_STOP_SECONDS": "0.5"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None and process.stdout.readline() == "working\n"
        time.sleep(0.5)
        process.terminate()
        assert process.wait(20) == 1 and "ended by force" in process.stderr.read()
    [run] = list_runs(Store(tmp_path))
    assert (run.status, run.reason) == ("cancelled", "stopped by force")
