"""Failure drills: a run is broken at a random moment, its command given again, and the bytes compared with an undisturbed run's.

usage: python benchmarks/drills.py [--times N] [--seed N] [--only NAME ...] [--out drills.md]

Each drill ends in one of three ways: the command completes all the same, it fails and says why, or it dies with what was
killed. In every case what it leaves must be a consistent catalog, no process may stay behind, and the same command again
must end well, with the bytes of a run that nobody disturbed. Exit 1 where one of these does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from nodes import Nodes

from codi2_storage.manifests import commits
from codi2_storage.store import Store

CODI2 = str(Path(sys.executable).with_name("codi2"))
TASKS = ("text_to_image", "image_captioning", "image_editing", "exemplar_learning", "text_to_audio", "text_instruction")
RECIPE = {
    "name": "drill", "seed": 3, "image": {"size": 32}, "audio": {"max_seconds": 1.0},
    "corpora": [{"name": name} for name in ("emoji-noto", "emoji-twemoji", "emoji-fxemoji", "sonic-pi-samples", "chitchat")],
    "splits": {"test_concepts": 0.15, "validation_concepts": 0.1},
    "tasks": {task: {"train": 48, "validation": 10, "test": 12} for task in TASKS},
}  # fmt: skip
LIMIT, PATIENCE = 160, 600.0  # rows of a corpus; seconds until a command counts as hanging


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
OTHERS = ("node", "disk full", "root unreachable", "clock jump")


@dataclass(frozen=True)
class Outcome:
    """How a disturbed command ended, and what its rerun gave."""

    drill: str
    moment: float
    """Seconds after the start."""
    hit: bool
    end: str
    consistent: bool
    left_behind: int
    same: bool

    @property
    def good(self) -> bool:
        return self.consistent and not self.left_behind and self.same


@dataclass(frozen=True)
class Line:
    """What all drills share: the recipe's file, a folder for roots, and what an undisturbed run of each stage gave."""

    folder: Path
    recipe: Path
    seconds: dict[str, float]
    bytes: dict[str, dict[str, str]]

    def command(self, stage: str, root: str) -> list[str]:
        more = ["--config", "test"] if stage == "retrain" else []
        return [CODI2, stage, str(self.recipe), "--root", root, "--workers", "2", "--limit", str(LIMIT), *more]


def sums(root: str) -> dict[str, str]:
    """sha256 of every shard and every weights file of a root, by name. Media shards of unfinished work count too."""
    store = Store(root)
    names = [name for name in store.list() if name.endswith((".tar", ".safetensors")) and "/state-" not in name]
    return {name: hashlib.sha256(store.read_bytes(name)).hexdigest() for name in names}


def consistent(root: str) -> bool:
    """Every file that a commit names is there, with the bytes that it says."""
    store = Store(root)
    for commit in commits(store):
        for file in commit.files:
            if hashlib.sha256(store.read_bytes(file.path)).hexdigest() != file.sha256:
                return False
    return True


def prepare(folder: Path, stages: set[str]) -> Line:
    recipe = folder / "drill.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    line = Line(folder, recipe, {}, {})
    for stage in sorted(stages):
        root = str(folder / f"undisturbed-{stage}")
        subprocess.run(line.command("build", str(folder / "warm")), check=True, capture_output=True)  # packages fetched
        start = time.monotonic()
        subprocess.run(line.command(stage, root), check=True, capture_output=True)
        line.seconds[stage] = time.monotonic() - start
        line.bytes[stage] = sums(root)
        print(f"undisturbed {stage}: {line.seconds[stage]:.0f} s, {len(line.bytes[stage])} files", flush=True)
    return line


@contextmanager
def started(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, whose descendants are ended with it at last."""
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def descend(process: subprocess.Popen[str], found: set[psutil.Process]) -> None:
    """Add what descends from the command now: after its end there is nothing to ask."""
    with suppress(psutil.Error):
        found.update(psutil.Process(process.pid).children(recursive=True))


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
            descend(process, family)
            if not hit and time.monotonic() - start >= moment and (found := victim_of(process, drill, chance)):
                descend(process, family)
                with suppress(psutil.Error):
                    found.kill()
                    hit, moment = True, time.monotonic() - start
            time.sleep(0.05)
        end = ending(process)
        stay = psutil.wait_procs(family, timeout=30)[1]
    for child in stay:
        with suppress(psutil.Error):
            child.kill()
    return judged(line, drill.name, drill.stage, root, moment, hit, end, len(stay))


def judged(
    line: Line, name: str, stage: str, root: str, moment: float, hit: bool, end: str, stay: int,
    environment: dict[str, str] | None = None,
) -> Outcome:  # fmt: skip
    """Look at what is left, give the command again, compare."""
    whole = consistent(root)
    again = subprocess.run(
        line.command(stage, root), capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    same = again.returncode == 0 and sums(root) == line.bytes[stage] and consistent(root)
    if again.returncode:
        end += f"; again: {again.stderr.strip().splitlines()[-1][:120]}"
    return Outcome(name, moment, hit, end, whole, stay, same)


def ending(process: subprocess.Popen[str]) -> str:
    """How a command ended, in words. One that hangs is said to."""
    if process.poll() is None:
        return "HANGS"
    if process.returncode == 0:
        return "completed"
    if process.returncode < 0:
        return "died"
    said = (process.stderr.read() if process.stderr else "").strip().splitlines()
    return "failed: " + (said[-1].removeprefix("codi2: ")[:100] if said else f"status {process.returncode}, NO WORD")


def node_lost(line: Line, number: int, chance: random.Random) -> Outcome:
    """Of a cluster of two nodes one is lost; the run goes on with the other."""
    root = str(line.folder / f"node-{number}")
    with Nodes(2) as nodes, started(line.command("build", root), nodes.environment) as process:
        moment = chance.uniform(0.15, 0.9) * line.seconds["build"]
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        hit = process.poll() is None
        nodes.kill(1)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        return judged(line, "node", "build", root, moment, hit, ending(process), 0, nodes.environment)


def disk_full(line: Line, number: int, chance: random.Random) -> Outcome:
    """The root's disk has room for a part of the build; then it is made larger."""
    mount = line.folder / f"disk-{number}"
    mount.mkdir()
    kilobytes = int(chance.uniform(0.1, 0.8) * size_of(str(line.folder / "undisturbed-build")) / 1024)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(mount)], check=True)
    try:
        root = str(mount / "root")
        start = time.monotonic()
        with started(line.command("build", root)) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            end = ending(process)
        subprocess.run(["mount", "-o", "remount,size=1g", str(mount)], check=True)
        return judged(line, "disk full", "build", root, time.monotonic() - start, True, end, 0)
    finally:
        subprocess.run(["umount", str(mount)], check=False)


def size_of(root: str) -> int:
    return sum(path.stat().st_size for path in Path(root).rglob("*") if path.is_file())


def root_unreachable(line: Line, number: int, chance: random.Random) -> Outcome:
    """An S3 root whose server does not answer for a minute."""
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        command = [sys.executable, "-c", BUCKET]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        stack.callback(server.kill)
        address = server.stdout.readline().strip() if server.stdout else ""
        environment = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
                       "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
        os.environ.update(environment)
        root = f"s3://drills/root-{number}"
        moment = chance.uniform(0.3, 0.9) * line.seconds["build"]
        with started(line.command("build", root)) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            hit = process.poll() is None
            server.send_signal(signal.SIGSTOP)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            server.send_signal(signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            end = ending(process)
        return judged(line, "root unreachable", "build", root, moment, hit, end, 0)


BUCKET = """
import time
from moto.server import ThreadedMotoServer
import boto3
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
address = "http://{}:{}".format(*server.get_host_and_port())
boto3.client("s3", endpoint_url=address, aws_access_key_id="x", aws_secret_access_key="x",
             region_name="us-east-1").create_bucket(Bucket="drills")
print(address, flush=True)
time.sleep(10_000)
"""


def clock_jump(line: Line, number: int, chance: random.Random) -> Outcome | None:
    """A day forward or back for the rerun of a killed build: nothing may hang on what time it is. None without libfaketime."""
    library = next(iter(sorted(Path("/usr/lib").rglob("libfaketime.so.1"))), None)
    if library is None:
        return None
    root = str(line.folder / f"clock-{number}")
    shift = chance.choice(("+1d", "-1d"))
    moment = chance.uniform(0.3, 0.9) * line.seconds["build"]
    with started(line.command("build", root)) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        hit = process.poll() is None
    other = {"LD_PRELOAD": str(library), "FAKETIME": shift, "DONT_FAKE_MONOTONIC": "1"}
    return judged(line, "clock jump", "build", root, moment, hit, f"died, then {shift}", 0, other)


Special = Callable[[Line, int, random.Random], Outcome | None]
SPECIAL: dict[str, Special] = {
    "node": node_lost, "disk full": disk_full, "root unreachable": root_unreachable, "clock jump": clock_jump,
}  # fmt: skip


def table(outcomes: list[Outcome]) -> str:
    rows = ["| broken | after, s | the run | catalog | left behind | again: same bytes |", "|---|---|---|---|---|---|"]
    for one in outcomes:
        name = one.drill if one.hit else f"{one.drill} (the run had ended)"
        whole = "consistent" if one.consistent else "BROKEN"
        rows.append(
            f"| {name} | {one.moment:.1f} | {one.end} | {whole} | {one.left_behind} | {'yes' if one.same else 'NO'} |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2, help="of each drill, at another moment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=", ".join([d.name for d in KILLS] + list(OTHERS))
    )
    parser.add_argument("--out", type=Path, help="also write the table here")
    chosen = parser.parse_args()
    wanted = [drill for drill in KILLS if not chosen.only or drill.name in chosen.only]
    special = [name for name in OTHERS if not chosen.only or name in chosen.only]
    if not wanted and not special:
        parser.error(f"--only {' '.join(chosen.only)}: no such drill")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        line = prepare(Path(folder), {drill.stage for drill in wanted} | ({"build"} if special else set()))
        for number in range(chosen.times):
            for drill in wanted:
                outcomes.append(killed(line, drill, number, random.Random(f"{chosen.seed} {drill.name} {number}")))
                print(json.dumps(vars(outcomes[-1])), flush=True)
            for name in special:
                outcome = SPECIAL[name](line, number, random.Random(f"{chosen.seed} {name} {number}"))
                if outcome is None:
                    print(f"{name}: left out, this machine lacks what it takes", flush=True)
                    continue
                outcomes.append(outcome)
                print(json.dumps(vars(outcome)), flush=True)
    print(table(outcomes))
    if chosen.out:
        chosen.out.write_text(table(outcomes) + "\n")
    return 0 if all(outcome.good and "HANGS" not in outcome.end for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
