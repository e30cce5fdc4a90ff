"""A command that is killed leaves no server behind, and one with a server of its own has no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_where_a_profile_of_prefect_names_a_server_no_other_runs(tmp_path: Path) -> None:
    profile = '[profiles.default]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    (tmp_path / "profiles.toml").write_text(f'active = "default"\n{profile}')
    script = "import codi2_flows.runtime.settings, psutil\n"
    script += "from codi2_flows.runtime.temporary_server import server_configured, start_server\n"
    script += "start_server()\nassert server_configured()\n"
    script += "assert not [child for child in psutil.Process().children() if 'uvicorn' in child.cmdline()]\n"
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment | {"PREFECT_HOME": str(tmp_path)})
