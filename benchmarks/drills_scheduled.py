"""Drills of a whole installation, as `codi2 server` starts it: a schedule begins the run, a part of it is killed.

What it started goes on without a hand: the part is started again, and the run with it, or it is told as crashed.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
from drilling import CODI2, Line, Outcome, descend, judged, left_behind, started

from codi2_model.checkpoints.registry import promoted
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

STARTING = 120.0  # seconds in which the first run of the schedule must have begun
RESUMED = 800.0  # and in which a model must be in place: what is not resumed at once is so within ten minutes


def scheduled(name: str, victim: str) -> Callable[[Line, int, random.Random], Outcome]:
    """A drill that kills the process whose command line holds `victim`, while the first scheduled run is under way."""

    def drill(line: Line, number: int, chance: random.Random) -> Outcome:
        root = str(line.folder / re.sub(r"\W+", "-", f"{name} {number}"))
        moment = chance.uniform(0.05, 0.9) * line.seconds["retrain"]
        command = [CODI2, "server", "--root", root, "--recipe", str(line.recipe), "--config", "test", "--workers", "2",
                   "--limit", str(line.limit), "--every", "24h", "--port", "0", "--page-port", "0", "--model-port", "0"]  # fmt: skip
        family: set[psutil.Process] = set()
        with started(command) as process:
            hit = wait_for(lambda: running(root), STARTING, process.pid, family)
            wait_for(lambda: False, moment, process.pid, family)
            hit = wait_for(lambda: kill(process.pid, victim), STARTING, process.pid, family) and hit
            served = wait_for(lambda: promoted(Store(root)) is not None, RESUMED, process.pid, family)
            process.terminate()
            stopped = wait_for(lambda: process.poll() is not None, 120.0, process.pid, family)
            stay = left_behind(family)
        end = ("went on to a promoted model" if served else told(root)) + ("" if stopped else "; DID NOT END")
        return judged(line, name, "retrain", root, moment, hit, end, stay)

    return drill


def wait_for(done: Callable[[], bool], seconds: float, pid: int, family: set[psutil.Process]) -> bool:
    """Look twice a second; meanwhile note who descends from the process."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        descend(pid, family)
        time.sleep(0.5)
    return False


def running(root: str) -> bool:
    return Catalog(root).sql("select 1 from runs where status = 'running'").num_rows > 0


def told(root: str) -> str:
    """The last words of the catalog on a run that came to nothing."""
    rows = (
        Catalog(root)
        .sql("select kind, status, reason from runs where status <> 'finished' order by created_at desc limit 1")
        .to_pylist()
    )
    return f"{rows[0]['kind']} {rows[0]['status']}: {rows[0]['reason']}" if rows else "NO WORD"


def kill(pid: int, victim: str) -> bool:
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                if victim in " ".join(child.cmdline()):
                    child.kill()
                    return True
    return False


SCHEDULED = {
    "Prefect worker": scheduled("Prefect worker", "worker start"),
    "scheduled flow process": scheduled("scheduled flow process", "prefect.engine"),
    "Prefect's standing server": scheduled("Prefect's standing server", "server start"),
}
