"""A command that is killed leaves no server behind."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

FLOW = """
import codi2_flows.runtime.settings
import time
from codi2_flows.runtime.temporary_server import server_configured, start_server
start_server()
assert not server_configured()
from prefect import flow

@flow
def waits():
    print("running", flush=True)
    time.sleep(300)

waits()
"""


def test_a_killed_command_takes_its_server_with_it() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen([sys.executable, "-c", FLOW], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline().strip() == "running"
    family = psutil.Process(process.pid).children(recursive=True)
    servers = [child for child in family if "prefect.server.api.server" in " ".join(child.cmdline())]
    assert servers
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
