"""The shortest of the failure drills; `make drills` runs all of them, at more moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DRILLS = Path(__file__).parents[2] / "benchmarks" / "drills.py"


def test_a_killed_flow_and_a_killed_worker_leave_a_whole_catalog_and_the_rerun_has_the_same_bytes() -> None:
    only = [word for name in ("flow process", "Ray worker") for word in ("--only", name)]
    command = [sys.executable, str(DRILLS), "--times", "1", "--limit", "60", *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and "broken" not in line]
    assert len(rows) == 2
    for row in rows:
        assert row.endswith("| consistent | 0 | yes |"), row
