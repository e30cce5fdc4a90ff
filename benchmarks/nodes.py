"""A Ray of several nodes on one machine, each a process group of its own that can be killed as a machine is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from codi2_datasets.runtime.ray_executor import LOOPBACK_ENVIRONMENT, quiet_ray_home

RAY = Path(sys.executable).with_name("ray")
HEAD = "127.0.0.2"


class Nodes:
    """`with Nodes(2) as nodes:` a head and a node of one core each; `nodes.environment` lets a command join them."""

    def __init__(self, count: int = 2, cpus: int = 1) -> None:
        self.count, self.cpus = count, cpus
        self.port = free_port(HEAD)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        self.own = {**os.environ, **LOOPBACK_ENVIRONMENT, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        self.own |= {"HOME": str(quiet_ray_home())}
        self.own.pop("RAY_ADDRESS", None)

    @property
    def environment(self) -> dict[str, str]:
        return {**LOOPBACK_ENVIRONMENT, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_ADDRESS": f"{HEAD}:{self.port}"}

    def __enter__(self) -> Self:
        self.start("--head", f"--port={self.port}", f"--node-ip-address={HEAD}", "--include-dashboard=false",
                   f"--temp-dir={self.folder.name}")  # fmt: skip
        for _ in range(1, self.count):
            self.add()
        return self

    def add(self) -> None:
        """One node more."""
        self.start(f"--address={HEAD}:{self.port}", f"--node-ip-address=127.0.0.{len(self.processes) + 2}")

    def start(self, *options: str) -> None:
        command = [str(RAY), "start", *options, f"--num-cpus={self.cpus}", "--disable-usage-stats", "--block"]
        log = open(Path(self.folder.name) / f"node-{len(self.processes)}.log", "wb")  # noqa: SIM115  (the process keeps it)
        process = subprocess.Popen(command, env=self.own, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        log.close()
        self.processes.append(process)
        self.wait_for(process, Path(log.name))

    def wait_for(self, process: subprocess.Popen[bytes], log: Path) -> None:
        end = time.monotonic() + 60
        while b"Ray runtime started" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"a Ray node did not start: {log.read_text()[-500:]}")
            time.sleep(0.1)

    def kill(self, number: int) -> None:
        """End a node as a machine is lost: every process of it at once, unasked."""
        with suppress(ProcessLookupError):
            os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in reversed(range(len(self.processes))):
            self.kill(number)
        self.folder.cleanup()


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
