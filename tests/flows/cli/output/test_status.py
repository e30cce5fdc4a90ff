"""codi2 status and codi2 logs: the truth, in words and as JSON, quickly."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codi2_flows.cli import runs
from codi2_flows.cli.output.status import from_prefect, status
from codi2_flows.runtime.record_run import record_run
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

KILLED = """
import os, signal, sys
import codi2_flows.runtime.settings
from codi2_flows.runtime.record_run import record_run
with record_run("train-model", sys.argv[1], {}):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    """One that completed, one that failed, one that failed and was made good, one that was killed."""
    root = str(tmp_path)
    with record_run("build-dataset", root, {"recipe": "demo"}) as run:
        run.update(build_id="b1")
    for kind in ("retrain", "evaluate-model"):
        with pytest.raises(ValueError), record_run(kind, root, {}):
            raise ValueError("the reason")
    with record_run("evaluate-model", root, {}):
        pass
    subprocess.run([sys.executable, "-c", KILLED, root], check=False)
    with Writer(Store(root), "default-1", "deployment") as writer:
        writer.append("deployments", [{"name": "default", "checkpoint_id": "c1", "since": "2026-01-01T00:00:00+00:00"}])
    return root


def test_what_ran_what_runs_and_what_is_to_be_looked_at(root: str) -> None:
    with record_run("generate-batch", root, {}):
        about = {"step": "generate", "fields": {"done": 3, "total": 9, "unit": "requests", "seconds_left": 12.5}}
        logging.getLogger("codi2.progress").info("generate: 3 of 9 requests", extra=about)
        found = status(root)
    [line] = found.running
    assert line.progress == "generate: 3 of 9 requests" and line.left == 12.5 and line.heartbeat is not None
    assert [one.status for one in found.ended] == ["crashed", "completed", "failed", "failed", "completed"]
    assert {(one.flow, one.status) for one in found.troubled} == {("retrain", "failed"), ("train-model", "crashed")}
    assert {one.reason for one in found.troubled if one.flow == "retrain"} == {"ValueError: the reason"}
    assert {one.remedy for one in found.troubled if one.flow == "train-model"} == {f"codi2 resume --root {root}"}
    assert found.model and found.model["checkpoint_id"] == "c1" and found.sizes["catalog"]["bytes"] > 0


def test_status_and_logs_print_json(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs.status(root=root, json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["root"] == root and shown["model"]["checkpoint_id"] == "c1" and len(shown["ended"]) == 5
    runs.logs("retrain", root=root, json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any("ValueError: the reason" in line["message"] for line in lines)


def test_the_command_shows_it_and_logs_shows_what_a_run_said(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs.status(root=root)
    shown = capsys.readouterr().out
    assert "ValueError: the reason" in shown and "codi2 resume" in shown and "c1 since" in shown
    runs.logs("retrain", root=root)
    said = capsys.readouterr().out
    assert "ERROR" in said and "retrain failed: ValueError: the reason" in said and "Traceback" in said
    with pytest.raises(runs.UsageError, match="2 runs begin with 'evaluate'"):
        runs.logs("evaluate", root=root)


def test_an_empty_root_is_no_error_and_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.status(root=str(tmp_path / "none"))
    assert "none yet" in capsys.readouterr().out and not (tmp_path / "none").exists()
    with pytest.raises(runs.UsageError, match="no runs under"):
        runs.logs(root=str(tmp_path / "none"))


def test_status_needs_no_prefect(root: str) -> None:
    code = (
        f"import sys; from codi2_flows.cli.runs import status; status(root={root!r}); print('prefect' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip().splitlines()[-1] == "False" and "no Prefect server" in done.stdout


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert set(from_prefect("anywhere").values()) == {None}


def test_follow_ends_with_the_run(tmp_path: Path) -> None:
    code = (
        "import sys, time, logging\nfrom codi2_flows.runtime.record_run import record_run\n"
        "with record_run('build-dataset', sys.argv[1], {}):\n    print('up', flush=True)\n    time.sleep(1.5)\n"
        "    logging.getLogger('codi2.x').info('late')\n    time.sleep(1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "up\n"
    command = f"from codi2_flows.cli.runs import logs; logs(root={str(tmp_path)!r}, follow=True)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert "late" in done.stdout and "build-dataset completed" in done.stdout
    assert process.wait(10) == 0
