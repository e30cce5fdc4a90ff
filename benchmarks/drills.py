"""Failure drills: a run is broken at a random moment, its command given again, and the bytes compared with an undisturbed run's.

usage: python benchmarks/drills.py [--times N] [--seed N] [--only NAME ...] [--out drills.md]

Each drill ends in one of three ways: the command completes all the same, it fails and says why, or it dies with what was
killed. In every case what it leaves must be a consistent catalog, no process may stay behind, and the same command again
must end well, with the bytes of a run that nobody disturbed. Exit 1 where one of these does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from drilling import LIMIT, PATIENCE, Line, Outcome, descend, ending, judged, left_behind, prepare, started
from drills_scheduled import SCHEDULED
from drills_special import SPECIAL as ALONE

SPECIAL = {**ALONE, **SCHEDULED}


@dataclass(frozen=True)
class Drill:
    name: str
    stage: str
    """Which command: build, or retrain."""
    victim: str | None = None
    """What its command line holds, of a process that descends from the command; '' is the command itself."""


KILLS = (
    Drill("flow process", "build", ""),
    Drill("Ray worker", "build", "ray::"),
    Drill("raylet", "build", "raylet/raylet"),
    Drill("Ray's head (gcs)", "build", "gcs_server"),
    Drill("Prefect server", "build", "prefect.server"),
    Drill("flow process of a retraining", "retrain", ""),
    Drill("trainer", "retrain", "RayTrainWorker"),
)


def victim_of(process: subprocess.Popen[str], drill: Drill, chance: random.Random) -> psutil.Process | None:
    with suppress(psutil.Error):
        if drill.victim == "":
            return psutil.Process(process.pid)
        found = []
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if str(drill.victim) in " ".join(child.cmdline()) and "Agent" not in child.name():
                    found.append(child)
        return chance.choice(sorted(found, key=lambda child: child.pid)) if found else None
    return None


def killed(line: Line, drill: Drill, number: int, chance: random.Random) -> Outcome:
    """One process killed at a random moment of the run, or as soon after it as there is one of its kind."""
    root = str(line.folder / re.sub(r"\W+", "-", f"{drill.name} {number}"))
    moment = chance.uniform(0.15, 0.9) * line.seconds[drill.stage]
    family: set[psutil.Process] = set()
    hit = False
    with started(line.command(drill.stage, root)) as process:
        start = time.monotonic()
        while process.poll() is None and time.monotonic() - start < PATIENCE:
            descend(process.pid, family)
            if not hit and time.monotonic() - start >= moment and (found := victim_of(process, drill, chance)):
                descend(process.pid, family)
                with suppress(psutil.Error):
                    found.kill()
                    hit, moment = True, time.monotonic() - start
            time.sleep(0.05)
        end = ending(process)
        stay = left_behind(family)
    return judged(line, drill.name, drill.stage, root, moment, hit, end, stay)


def table(outcomes: list[Outcome]) -> str:
    rows = ["| broken | after, s | the run | catalog | left behind | again: same bytes |", "|---|---|---|---|---|---|"]
    for one in outcomes:
        name = one.drill if one.hit else f"{one.drill} (the run had ended)"
        whole = "consistent" if one.consistent else "BROKEN"
        rows.append(
            f"| {name} | {one.moment:.1f} | {one.end} | {whole} | {len(one.left_behind)} | {'yes' if one.same else 'NO'} |"
        )
    return "\n".join(rows)


def tell(outcomes: list[Outcome], outcome: Outcome, out: Path | None) -> None:
    """Add an outcome; the file always holds the table of what was seen so far."""
    outcomes.append(outcome)
    print(json.dumps(vars(outcome)), flush=True)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(table(outcomes) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2, help="of each drill, at another moment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=LIMIT, help="rows of a corpus")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=", ".join([d.name for d in KILLS] + list(SPECIAL))
    )
    parser.add_argument("--out", type=Path, help="also write the table here")
    chosen = parser.parse_args()
    wanted = [drill for drill in KILLS if not chosen.only or drill.name in chosen.only]
    special = [name for name in SPECIAL if not chosen.only or name in chosen.only]
    if not wanted and not special:
        parser.error(f"--only {' '.join(chosen.only)}: no such drill")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        stages = {drill.stage for drill in wanted} | {"retrain" if name in SCHEDULED else "build" for name in special}
        line = prepare(Path(folder), stages, chosen.limit)
        for number in range(chosen.times):
            for drill in wanted:
                outcome = killed(line, drill, number, random.Random(f"{chosen.seed} {drill.name} {number}"))
                tell(outcomes, outcome, chosen.out)
            for name in special:
                found = SPECIAL[name](line, number, random.Random(f"{chosen.seed} {name} {number}"))
                if found is None:
                    print(f"{name}: left out, this machine lacks what it takes", flush=True)
                else:
                    tell(outcomes, found, chosen.out)
    print(table(outcomes))
    return 0 if all(outcome.good and "HANGS" not in outcome.end for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
