"""What batch generation costs: the bare loop, one worker and several workers over the same rows, in one run.

    python benchmarks/batch.py [CHECKPOINT] [--rows 2000] [--workers 2] [--kind image]

Without a checkpoint a tiny model with random weights is made: the figures are about the machinery, not the media. Every
worker, and the loop, has one torch thread. Start-up (loading, Ray) and the page at the end are told apart from the rows:
a row's cost is taken between the moments at which chunks were done, from when every worker has done one. What the machine
itself gives to that many processes at once is measured with bare loops side by side.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (quiet, offline)
import argparse
import hashlib
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny import tiny

from codi2_flows.generate_batch import on_ray
from codi2_model.checkpoints.registry import load_model
from codi2_model.serving.batch.generate_batch import BATCH, CHUNK_ROWS, generate_requests


@dataclass(frozen=True)
class Cost:
    """Seconds of a run: a row's share while all workers work, what comes before the first row, the page at the end."""

    row: float
    start: float = 0.0
    page: float = 0.0
    whole: float = 0.0

    def line(self, name: str) -> str:
        told = f"{name:<10} {1000 * self.row:8.1f} ms a row"
        if not self.whole:
            return told
        return f"{told}   {self.whole:7.1f} s in all: start-up {self.start:.1f}, page and catalog {self.page:.1f}"


def row(n: int, kind: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Make number {n}."}]
    return {"id": str(n), "messages": messages, "modalities": [kind], "seed": n, "steps": 10, "max_tokens": 32}


def bare(checkpoint: Path, rows: list[dict[str, Any]], ready: Callable[[], Any] = lambda: None) -> Cost:
    """The model's own `generate` over the same rows in the same batches; nothing is kept. `ready`: called when warm."""
    torch.set_num_threads(1)
    model, processor = load_model(checkpoint)

    def run(some: list[dict[str, Any]]) -> None:
        for start in range(0, len(some), BATCH):
            chosen = some[start : start + BATCH]
            model.generate(
                processor, [row["messages"] for row in chosen], modalities=chosen[0]["modalities"],
                seed=[row["seed"] for row in chosen], steps=10, max_new_tokens=32,
            )  # fmt: skip

    run(rows[:CHUNK_ROWS])  # warm
    ready()
    begun = time.perf_counter()
    run(rows)
    return Cost((time.perf_counter() - begun) / len(rows))


def side_by_side(checkpoint: Path, rows: list[dict[str, Any]], count: int) -> float:
    """Seconds a row of `count` bare loops at once, each in a process of its own over its share of the rows."""
    context = multiprocessing.get_context("spawn")
    begin, costs = context.Barrier(count), context.SimpleQueue()
    shares = [rows[n::count] for n in range(count)]
    loops = [context.Process(target=_loop, args=(checkpoint, share, begin, costs)) for share in shares]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    return 1 / sum(1 / costs.get() for _ in loops)


def _loop(checkpoint: Path, rows: list[dict[str, Any]], begin: Any, costs: Any) -> None:
    costs.put(bare(checkpoint, rows, begin.wait).row)


def batched(checkpoint: Path, requests: Path, folder: Path, workers: int) -> Cost:
    """`codi2 generate` with so many workers."""
    begun = time.time()  # the clock that files are stamped with
    generate_requests(str(requests), str(folder), str(checkpoint), f"{folder}-root", workers, distribute=on_ray)
    whole = time.time() - begun
    receipts = sorted((folder / "shards").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    done = [path.stat().st_mtime - begun for path in receipts]
    rows = sum(len(json.loads(path.read_bytes())["rows"]) for path in receipts[workers:])
    each = (done[-1] - done[workers - 1]) / rows
    return Cost(each, max(0.0, done[0] - each * CHUNK_ROWS * workers), whole - done[-1], whole)


def shards_hash(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted((folder / "shards").iterdir()):
        total.update(path.read_bytes())
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", default="image", choices=("text", "image", "audio", "video"))
    chosen = parser.parse_args()
    if chosen.rows < CHUNK_ROWS * (chosen.workers + 1):
        parser.error(
            f"--rows {chosen.rows}: at least {CHUNK_ROWS * (chosen.workers + 1)} are wanted, a chunk more than workers"
        )
    with tempfile.TemporaryDirectory(prefix="codi2-bench-") as name:
        folder = Path(name)
        checkpoint = Path(chosen.checkpoint) if chosen.checkpoint else tiny(folder / "checkpoint")
        rows = [row(n, chosen.kind) for n in range(chosen.rows)]
        requests = folder / "requests.jsonl"
        requests.write_text("".join(json.dumps(row) + "\n" for row in rows))
        count = chosen.workers
        loop = bare(checkpoint, rows)
        print(loop.line("bare loop"), flush=True)
        beside = Cost(side_by_side(checkpoint, rows, count))
        print(beside.line(f"{count} bare"), flush=True)
        one = batched(checkpoint, requests, folder / "one", 1)
        print(one.line("1 worker"), flush=True)
        many = batched(checkpoint, requests, folder / "many", count)
        print(many.line(f"{count} workers"), flush=True)
        same = shards_hash(folder / "one") == shards_hash(folder / "many")
    ratios = {
        "1 worker / bare loop, a row": one.row / loop.row,
        f"1 worker / {count} workers, a row": one.row / many.row,
        f"1 bare loop / {count} side by side": loop.row / beside.row,
        f"1 worker / {count} workers, in all": one.whole / many.whole,
    }
    for name, ratio in ratios.items():
        print(f"{name:<34} {ratio:5.2f}")
    print(f"{'the same bytes':<34} {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
