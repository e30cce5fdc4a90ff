"""What every drill shares: the small recipe, a command that is broken, and the look at what is left of it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from codi2_datasets.recipe import load_recipe
from codi2_datasets.steps.ingest import fetch_sources
from codi2_storage.commits.manifests import commits
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
class Outcome:
    """How a disturbed command ended, and what its rerun gave."""

    drill: str
    moment: float
    """Seconds after the start."""
    hit: bool
    end: str
    consistent: bool
    left_behind: list[str]
    same: bool

    @property
    def good(self) -> bool:
        return self.consistent and not self.left_behind and self.same


@dataclass(frozen=True)
class Line:
    """What all drills share: the recipe's file, a folder for roots, and what an undisturbed run of each stage gave."""

    folder: Path
    recipe: Path
    limit: int
    """Rows of a corpus."""
    seconds: dict[str, float]
    bytes: dict[str, dict[str, str]]

    def command(self, stage: str, root: str) -> list[str]:
        more = ["--config", "test"] if stage == "retrain" else []
        return [CODI2, stage, str(self.recipe), "--root", root, "--workers", "2", "--limit", str(self.limit), *more]


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


def prepare(folder: Path, stages: set[str], limit: int) -> Line:
    recipe = folder / "drill.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    line = Line(folder, recipe, limit, {}, {})
    fetch_sources(load_recipe(str(recipe)))  # whose seconds belong to no run
    for stage in sorted(stages):
        root = str(folder / f"undisturbed-{stage}")
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


def descend(pid: int, found: set[psutil.Process]) -> None:
    """Add what descends from the process now: after its end there is nothing to ask."""
    with suppress(psutil.Error):
        found.update(psutil.Process(pid).children(recursive=True))


def left_behind(family: set[psutil.Process], patience: float = 30.0) -> list[str]:
    """What of them is still there after a while; it is ended then."""
    names = []
    for child in psutil.wait_procs(family, timeout=patience)[1]:
        with suppress(psutil.Error):
            names.append(" ".join(child.cmdline())[-80:] or child.name())
            child.kill()
    return names


def judged(
    line: Line, name: str, stage: str, root: str, moment: float, hit: bool, end: str, stay: list[str],
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
