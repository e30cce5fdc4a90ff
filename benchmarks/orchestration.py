"""What orchestration costs: `codi2 retrain` beside the same library functions called from plain Python, in one run.

    python benchmarks/orchestration.py [--recipe demo] [--config demo] [--limit N] [--times 1]

Each is a process and a root of its own; they take turns. `nothing to do` is the same command again: what is left then is the
fixed cost of either. Exit 1 where the flow costs more than 5 % of a run of ten minutes, or 15 s with nothing to do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

CODI2 = str(Path(sys.executable).with_name("codi2"))
RUN = 600.0  # seconds of a run that orchestration is held against, at least
SHARE, FIXED = 0.05, 15.0  # more than this is too much: of such a run, and in seconds with nothing to do


def direct(recipe: str, config: str, root: str, workers: int, limit: int | None) -> None:
    """Build, train, evaluate, decide, promote, with no orchestrator. The first model in place needs no other to beat."""
    from codi2_datasets.build import Settings, build
    from codi2_datasets.runtime.ray_executor import local_cluster
    from codi2_model.checkpoints.registry import local_copy, promote, promoted
    from codi2_model.evaluation import evaluate
    from codi2_model.evaluation.gate import Gate, decide, record
    from codi2_model.training.pipeline_stage import TrainRequest, train_and_record
    from codi2_storage.store import Store

    with local_cluster(workers):
        version = build(Settings(recipe, root, workers, limit))
        uri = train_and_record(TrainRequest(config, root, version.build_id))
    gate, store = Gate(), Store(root)
    result = evaluate(local_copy(uri), root, version.build_id, limit=gate.limit, seed=gate.seed)
    if promoted(store) is None:
        decision = decide(store, gate, version.build_id, result.checkpoint_id, None)
        record(store, decision, version.build_id, result.checkpoint_id, None)
        promote(store, result.checkpoint_id, uri, decision.reason)


def seconds(command: list[str]) -> float:
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--limit", type=int, help="rows of a corpus; all if left out")
    parser.add_argument("--times", type=int, default=1, help="of each, in turns")
    parser.add_argument("--direct", metavar="ROOT", help=argparse.SUPPRESS)  # this script as the process that is timed
    chosen = parser.parse_args()
    workers = os.cpu_count() or 1
    if chosen.direct:
        direct(chosen.recipe, chosen.config, chosen.direct, workers, chosen.limit)
        return 0
    common = ["--workers", str(workers), *(["--limit", str(chosen.limit)] if chosen.limit else [])]
    library = [sys.executable, __file__, "--recipe", chosen.recipe, "--config", chosen.config]
    library += ["--limit", str(chosen.limit)] if chosen.limit else []
    with tempfile.TemporaryDirectory() as folder:
        # sources are fetched and judges compiled before anything is timed
        subprocess.run(
            [CODI2, "build", chosen.recipe, "--root", f"{folder}/warm", "--limit", "8"], check=True, capture_output=True
        )
        took: dict[str, list[float]] = {}
        for number in range(chosen.times):
            flow = [
                CODI2,
                "retrain",
                chosen.recipe,
                "--config",
                chosen.config,
                "--root",
                f"{folder}/flow-{number}",
                *common,
            ]
            bare = [*library, "--direct", f"{folder}/library-{number}"]
            for name, command in (
                (("library", bare), ("flow", flow)) if number % 2 == 0 else (("flow", flow), ("library", bare))
            ):
                took.setdefault(name, []).append(seconds(command))
                took.setdefault(f"{name}, nothing to do", []).append(seconds(command))
                print(f"{name}: {took[name][-1]:.1f} s, again {took[f'{name}, nothing to do'][-1]:.1f} s", flush=True)
    spent = {name: median(values) for name, values in took.items()}
    more = spent["flow"] - spent["library"]
    share = more / max(spent["library"], RUN)
    fixed = spent["flow, nothing to do"] - spent["library, nothing to do"]
    print(
        f"a whole run: flow {spent['flow']:.1f} s, library {spent['library']:.1f} s: {more:+.1f} s, {share:.1%} of ten minutes or more"
    )
    print(f"nothing to do: flow {fixed:+.1f} s")
    return int(share > SHARE or fixed > FIXED)


if __name__ == "__main__":
    sys.exit(main())
