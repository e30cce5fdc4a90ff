"""The benchmark's soak, short: mixed requests without end, and a replica of the model killed under them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "serving.py"


@pytest.mark.slow
def test_a_killed_replica_loses_what_it_held_with_a_reason_and_nothing_else(checkpoint: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    asked = ["--soak", "20", "--kill-every", "12", "--replicas", "2"]
    run = subprocess.run(
        [sys.executable, str(BENCHMARK), str(checkpoint), *asked], capture_output=True, text=True, env=environment,
        timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2_000:] + run.stderr[-2_000:]
    assert re.search(r"replicas killed 1   without a reason 0", run.stdout)
    answered = int(next(re.finditer(r"statuses \{.*?'200': (\d+)", run.stdout[run.stdout.rindex("statuses") :]))[1])
    assert answered > 50
