"""PostgreSQL as Prefect's database: `codi2 server` on it deploys everything, and runs several flows at once."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codi2_storage.catalog.catalog import Catalog

pytestmark = pytest.mark.timeout(900)
NOBODY = "nobody"  # PostgreSQL does not run as root


def programs() -> Path | None:
    """The folder with initdb and postgres: Debian keeps them off the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


@pytest.fixture
def database(tmp_path: Path, start_server: Any) -> Iterator[str]:
    """The address of a fresh PostgreSQL, on a free port of the loopback address."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    as_user: dict[str, Any] = {}
    home = tmp_path / "postgres"
    home.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam(NOBODY)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(home, user.pw_uid, user.pw_gid)
        for folder in (tmp_path, *tmp_path.parents[:3]):  # pytest's folders are ours alone
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
    data, port = home / "data", start_server.free_port()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": home, **as_user}
    subprocess.run(
        [bin_folder / "initdb", "-D", data, "-U", "codi2", "--auth=trust", "-E", "UTF8"], check=True, **quiet
    )
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(home), "-c", "fsync=off", "-c", "max_connections=60"]
    server = subprocess.Popen([bin_folder / "postgres", "-D", data, *options], **quiet)
    try:
        ready = [bin_folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        end = time.monotonic() + 60
        while subprocess.run(ready).returncode:
            assert time.monotonic() < end and server.poll() is None, "PostgreSQL did not start"
            time.sleep(0.2)
        yield f"postgresql+asyncpg://codi2@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.slow  # two minutes: a server, four builds and their processes
def test_a_server_on_postgres_deploys_and_runs_several_flows_at_once(
    database: str, start_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", database)
    server = start_server(tmp_path)
    server.said("Ctrl-C ends")
    assert not (server.folder / "home" / "prefect.db").exists()
    deployments = server.ask("deployments/filter", {})
    assert len(deployments) >= 9
    roots = [str(server.folder / f"root-{number}") for number in range(4)]
    [build] = [one for one in deployments if one["entrypoint"].endswith(".build_dataset")]
    server.ask(f"deployments/{build['id']}", {"concurrency_limit": None}, "PATCH")
    for root in roots:
        server.ask(f"deployments/{build['id']}/create_flow_run", {"parameters": {"root": root}})

    def done() -> bool:
        runs = server.runs("build-dataset")
        assert not [run for run in runs if run["state"]["type"] in ("FAILED", "CRASHED", "CANCELLED")]
        return len(runs) == len(roots) and all(run["state"]["type"] == "COMPLETED" for run in runs)

    server.wait_for(done, 240)
    assert {Catalog(root).latest_build() for root in roots} == {Catalog(roots[0]).latest_build()}
    server.end()
    assert server.process.returncode == 0
