"""Image-text pairs through this project and through other pipelines, side by side: seconds, and what each finds.

usage: python benchmarks/peers/compare.py FOLDER [--pairs 20000] [--runs 1] [--only NAME ...]

The files are made once in FOLDER/pairs. Every peer runs in an environment of its own in FOLDER, with the versions that are
pinned here, on two processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "uv"


@dataclass(frozen=True)
class Tool:
    """A pipeline: its script here, and the packages of its environment (none: this project's)."""

    name: str
    script: str
    packages: tuple[str, ...] = ()


TOOLS = (
    Tool("this project", "ours.py"),
    Tool("Data-Juicer 1.6.1", "data_juicer_pairs.py", ("py-data-juicer==1.6.1", "imagededup==0.3.3.post2", "aiohttp")),
    Tool("NeMo Curator 1.4.0 (CPU)", "nemo_curator_tars.py", ("nemo-curator==1.4.0", "pillow")),
    Tool("datasets 5.2.0", "hugging_face.py", ("datasets==5.2.0", "webdataset==1.0.2", "ImageHash==4.3.2", "pillow")),
    Tool("webdataset 1.0.2", "plain_webdataset.py", ("webdataset==1.0.2", "ImageHash==4.3.2", "pillow")),
)


def python_of(tool: Tool, folder: Path) -> str:
    """The Python of the tool's environment, made if it is not there."""
    if not tool.packages:
        return sys.executable
    environment = folder / tool.script.removesuffix(".py")
    python = str(environment / "bin" / "python")
    if not environment.exists():
        subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
        subprocess.run([UV, "pip", "install", "--quiet", "--python", python, *tool.packages], check=True)
    return python


def timed(tool: Tool, folder: Path) -> tuple[float, dict[str, int]]:
    """Seconds of one run from start to end, and the counts that it prints in its last line."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [python_of(tool, folder), str(HERE / tool.script), str(folder / "pairs"), str(out)]
    start = time.perf_counter()
    with (folder / f"{tool.script}.log").open("w") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{tool.name} failed: see {folder / f'{tool.script}.log'}")
    return seconds, json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[tool.script for tool in TOOLS])
    options = parser.parse_args()
    folder = options.folder.absolute()
    if not (folder / "pairs").exists():
        subprocess.run([sys.executable, str(HERE / "pairs.py"), str(folder / "pairs"), str(options.pairs)], check=True)
    truth = json.loads((folder / "pairs" / "truth.json").read_text())
    print(f"truth: {truth}")
    tools = [tool for tool in TOOLS if tool.script in options.only]
    for tool in tools:
        python_of(tool, folder)
    runs: dict[str, list[float]] = {tool.name: [] for tool in tools}
    counts: dict[str, dict[str, int]] = {}
    for _ in range(options.runs):
        for tool in tools:
            seconds, counts[tool.name] = timed(tool, folder)
            runs[tool.name].append(seconds)
    first = median(runs[tools[0].name])
    print("| pipeline | seconds | of the first | outcome |\n|---|---|---|---|")
    for tool in tools:
        seconds = median(runs[tool.name])
        print(f"| {tool.name} | {seconds:.1f} | {seconds / first:.2f} | {counts[tool.name]} |")


if __name__ == "__main__":
    main()
