"""Failure drills, short: what benchmarks/drills.py does many times, once. Left out of the default run: minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRILLS = Path(__file__).parents[1] / "benchmarks" / "drills.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("names", [("flow process", "Ray worker"), ("node",)])
def test_a_broken_build_ends_with_the_bytes_of_a_whole_one(names: tuple[str, ...]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    only = [word for name in names for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, str(DRILLS), "--times", "1", *only], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert done.stdout.count("| consistent |") == len(names)
