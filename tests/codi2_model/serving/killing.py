"""Batch generation that is killed at moments of choice: before or after its n-th write, as kill -9 would.

    python -m tests.codi2_model.serving.killing REQUESTS OUT CHECKPOINT ROOT 1- 1+ 2-      prints the exit statuses

One process loads what all need and forks for each run: before (-) and after (+) the n-th write, then one that is not killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SMALL_CHUNK = 4  # rows: many chunks, so many moments, of few rows


def run(arguments: Sequence[str], moments: Sequence[str]) -> list[int]:
    """Exit statuses of `generate_requests(*arguments)`: of a run for each moment, and of the last, which may end."""
    command = [sys.executable, "-m", "tests.codi2_model.serving.killing", *arguments, *moments]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=240, check=True)
    return [int(word) for word in told.stdout.split()]


def main(arguments: Sequence[str], moments: Sequence[str]) -> None:
    import pandas  # noqa: F401  (the catalog's tables load it)

    from codi2_model.checkpoints.registry import load_model

    load_model(arguments[2])  # so that it is imported, with all that it needs, once
    for moment in (*moments, "0"):
        child = os.fork()
        if child == 0:
            generate(arguments, moment)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def generate(arguments: Sequence[str], moment: str) -> None:
    from codi2_model.serving.batch import generate_batch
    from codi2_storage.store import Store

    generate_batch.CHUNK_ROWS = SMALL_CHUNK
    real, number, count = Store.write_bytes, int(moment.rstrip("+-")), 0

    def write_bytes(self: Store, *given: Any, **options: Any) -> None:
        nonlocal count
        count += 1
        if count == number and moment.endswith("-"):
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, *given, **options)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.write_bytes = write_bytes  # type: ignore[method-assign]
    generate_batch.generate_requests(*arguments)


if __name__ == "__main__":
    main(sys.argv[1:5], sys.argv[5:])
