"""The shortest of the failure drills; `make drills` runs all of them, at more moments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRILLS = Path(__file__).parents[2] / "benchmarks" / "drills.py"
LONGER = ("Ray worker", "raylet", "trainer", "node", "Prefect worker")


@pytest.mark.parametrize(
    "name",
    ["flow process", *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(900)]) for name in LONGER)],
)
def test_what_is_killed_leaves_a_whole_catalog_and_the_rerun_has_the_same_bytes(name: str) -> None:
    command = [sys.executable, str(DRILLS), "--times", "1", "--limit", "20", "--only", name]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line for line in done.stdout.splitlines() if line.startswith(f"| {name}")]
    assert row.endswith("| consistent | 0 | yes |"), row
