"""Runs that were killed are found and run again to the end, at most so often. Two builds at once do the work once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from codi2_flows import resume
from codi2_flows.resume import resume_crashed
from codi2_storage.coordination.runs import list_runs
from codi2_storage.store import Store

RECIPE = {
    "name": "words", "seed": 3, "corpora": [{"name": "chitchat"}],
    "splits": {"test_concepts": 0.15, "validation_concepts": 0.1},
    "tasks": {"text_instruction": {"train": 6, "validation": 2, "test": 2}},
}  # fmt: skip

KILLED = """
import os, signal, sys
import codi2_flows.runtime.settings
from codi2_flows.runtime.record_run import record_run
parameters = {"recipe": sys.argv[2], "root": sys.argv[1], "workers": 1, "limit": 20}
with record_run("build-dataset", sys.argv[1], parameters):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(root: Path, recipe: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(root), recipe], check=False)


def test_a_killed_build_is_run_again_where_its_root_is_now_and_others_are_told(tmp_path: Path) -> None:
    before, root = tmp_path / "before", tmp_path / "root"
    (before / "recipes").mkdir(parents=True)
    recipe = before / "recipes/words.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    killed(before, str(recipe))
    killed(before, str(tmp_path / "missing.yaml"))
    before.rename(root)
    rows = {row["outcome"]: row for row in resume_crashed(str(root))}
    assert set(rows) == {"completed", "failed"} and "missing.yaml" in rows["failed"]["reason"]
    found = {(run.status, run.attempt) for run in list_runs(Store(root))}
    assert found == {("crashed", 1), ("completed", 2), ("failed", 2)}
    assert not before.exists()
    assert resume_crashed(str(root)) == []  # what failed on its own is no crash
    [built] = [run for run in list_runs(Store(root)) if run.status == "completed"]
    assert built.build_id and built.flow_run


def test_a_run_that_crashed_too_often_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(kind: str) -> None:
        raise AssertionError(f"{kind} was run")

    monkeypatch.setattr(resume, "load_flow", forbidden)
    for _ in range(2):
        killed(tmp_path, "x.yaml")
    [row] = resume_crashed(str(tmp_path), attempts=2)
    assert (row["outcome"], row["attempt"]) == ("given up", 2)


def test_flows_that_can_be_resumed_are_there() -> None:
    for kind in resume.RESUMABLE:
        assert resume.load_flow(kind).name == kind  # type: ignore[attr-defined]


def test_two_builds_started_at_once_do_the_work_once(tmp_path: Path) -> None:
    recipe = tmp_path / "words.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    code = (
        "import sys\nfrom codi2_datasets.build import Settings, build\n"
        "made = build(Settings(sys.argv[1], sys.argv[2], 1, 20))\nprint(made.build_id, made.fresh)"
    )
    command = [sys.executable, "-c", code, str(recipe), str(tmp_path / "root")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    names = {out.split()[0] for out, _ in said}
    assert len(names) == 1 and {out.split()[1] for out, _ in said} == {"True", "False"}, said


@pytest.mark.slow
def test_two_codi2_builds_at_once_print_the_same_id(tmp_path: Path) -> None:
    recipe = tmp_path / "words.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    command = [sys.executable, "-m", "codi2_flows.cli.main", "build", str(recipe), "--root", str(tmp_path / "root")]
    both = [subprocess.Popen([*command, "--limit", "20"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = {process.communicate(timeout=280)[0].strip().splitlines()[-1] for process in both}
    assert len(names) == 1 and all(process.returncode == 0 for process in both)
    [made] = Store(tmp_path / "root").list("catalog/commits/build")
    assert names == {Path(made).stem}
    assert {run.status for run in list_runs(Store(tmp_path / "root"))} == {"completed"}
