"""Drills that take more than a kill: a node of two, a full disk, a root that is away, a clock that jumps."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from drilling import PATIENCE, Line, Outcome, ending, judged, started
from nodes import Nodes
from s3fs import S3FileSystem


def node_lost(line: Line, number: int, chance: random.Random) -> Outcome:
    """Of a cluster of two nodes one is lost; the run goes on with the other."""
    root = str(line.folder / f"node-{number}")
    with Nodes(2) as nodes, started(line.command("build", root), nodes.environment) as process:
        moment = chance.uniform(0.15, 0.9) * line.seconds["build"]
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        hit = process.poll() is None
        nodes.kill(1)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        return judged(line, "node", "build", root, moment, hit, ending(process), [], nodes.environment)


def disk_full(line: Line, number: int, chance: random.Random) -> Outcome:
    """The root's disk has room for a part of the build; then it is made larger."""
    mount = line.folder / f"disk-{number}"
    mount.mkdir()
    kilobytes = int(chance.uniform(0.1, 0.8) * size_of(str(line.folder / "undisturbed-build")) / 1024)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(mount)], check=True)
    try:
        root = str(mount / "root")
        start = time.monotonic()
        with started(line.command("build", root)) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            end = ending(process)
        subprocess.run(["mount", "-o", "remount,size=1g", str(mount)], check=True)
        return judged(line, "disk full", "build", root, time.monotonic() - start, True, end, [])
    finally:
        subprocess.run(["umount", str(mount)], check=False)


def size_of(root: str) -> int:
    return sum(path.stat().st_size for path in Path(root).rglob("*") if path.is_file())


def root_unreachable(line: Line, number: int, chance: random.Random) -> Outcome:
    """An S3 root whose server does not answer for a minute."""
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        command = [sys.executable, "-c", BUCKET]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        stack.callback(server.kill)
        address = server.stdout.readline().strip() if server.stdout else ""
        environment = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
                       "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
        os.environ.update(environment)
        S3FileSystem.clear_instance_cache()  # one of another drill speaks to another server
        root = f"s3://drills/root-{number}"
        moment = chance.uniform(0.3, 0.9) * line.seconds["build"]
        with started(line.command("build", root)) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            hit = process.poll() is None
            server.send_signal(signal.SIGSTOP)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            server.send_signal(signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            end = ending(process)
        return judged(line, "root unreachable", "build", root, moment, hit, end, [])


BUCKET = """
import time
from moto.server import ThreadedMotoServer
import boto3
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
address = "http://{}:{}".format(*server.get_host_and_port())
boto3.client("s3", endpoint_url=address, aws_access_key_id="x", aws_secret_access_key="x",
             region_name="us-east-1").create_bucket(Bucket="drills")
print(address, flush=True)
time.sleep(10_000)
"""


def clock_jump(line: Line, number: int, chance: random.Random) -> Outcome | None:
    """The time of the machine is set a day forward or back under a running build, which must not mind. None without cc."""
    library, clock = line.folder / "clock.so", line.folder / f"clock-{number}.off"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", library, Path(__file__).with_name("clock.c")], check=True
    )
    clock.write_bytes(bytes(8))
    root = str(line.folder / f"clock-{number}")
    moment = chance.uniform(0.15, 0.9) * line.seconds["build"]
    day = chance.choice((86_400, -86_400))
    environment = {"LD_PRELOAD": str(library), "DRILL_CLOCK": str(clock)}
    with started(line.command("build", root), environment) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        hit = process.poll() is None
        with clock.open("r+b") as file:  # in place: every process of the run has it mapped
            file.write(day.to_bytes(8, sys.byteorder, signed=True))
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        end = ending(process)
    return judged(line, f"clock {'+' if day > 0 else '-'}1 day", "build", root, moment, hit, end, [], environment)


Special = Callable[[Line, int, random.Random], Outcome | None]
SPECIAL: dict[str, Special] = {
    "node": node_lost, "disk full": disk_full, "root unreachable": root_unreachable, "clock jump": clock_jump,
}  # fmt: skip
