"""Distributed training on Ray Train: data-parallel workers, restarted from the last checkpoint after a failure."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.shards import expand
from codi2_model.training.metrics.journal import Row, read_rows

MAX_FAILURES = 3


def train_distributed(
    config: TrainConfig,
    shards: Sequence[str | Path],
    out_dir: str | Path,
    workers: int = 1,
    on_metrics: Callable[[Row], None] | None = None,
    start: str | Path | None = None,
) -> Path:
    """Call `run.train` in `workers` Ray Train workers. The batch size of the config is the sum over all of them.

    The run's folder is its only state and must be on storage that all nodes share. After a failure the workers restart
    and resume from the last checkpoint; after `MAX_FAILURES` failures the error of Ray is raised.
    start: folder of a checkpoint to take the initial weights from.
    """
    out = Path(out_dir).resolve()
    paths = [str(Path(path).resolve()) for path in expand(shards)]
    final = out / "final"
    if final.exists():
        from codi2_model.training.run import claim

        claim(out, config, paths, start)  # raises UsageError if the folder holds another run
        return final
    start_folder = None if start is None else str(Path(start).resolve())
    done = threading.Event()
    follower = threading.Thread(target=follow, args=(out / "metrics.jsonl", on_metrics, done), daemon=True)
    with local_cluster(num_cpus=workers + 1):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        trainer = TorchTrainer(
            work,
            train_loop_config={"config": config.to_dict(), "shards": paths, "out": str(out), "start": start_folder},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=bool(ray.cluster_resources().get("GPU"))),
            run_config=RunConfig(
                name="ray", storage_path=str(out), failure_config=FailureConfig(max_failures=MAX_FAILURES)
            ),
        )
        handler = "_register_sigint_handler"  # Ctrl-C is handled here: the handler of Ray is slow
        setattr(trainer, handler, lambda controller: None)
        follower.start()
        try:
            trainer.fit()
        finally:
            done.set()
            follower.join()
    shutil.rmtree(out / "ray", ignore_errors=True)  # state files of Ray
    return final


def work(settings: dict[str, Any]) -> None:
    """Entry point of a worker, after Ray Train has initialised torch.distributed."""
    import ray.train

    from codi2_model.training.run import train

    context = ray.train.get_context()
    config = TrainConfig.from_dict(settings["config"])
    rank, world = context.get_world_rank(), context.get_world_size()
    train(config, settings["shards"], settings["out"], rank, world, start=settings["start"])


def follow(path: Path, on_metrics: Callable[[Row], None] | None, done: threading.Event, every: float = 1.0) -> None:
    """Pass new rows of a growing metrics file to `on_metrics`, each once, until `done` is set."""
    if on_metrics is None:
        return
    seen: set[tuple[str, int, str]] = set()  # a resumed run rewrites some rows
    while True:
        last = done.wait(every)
        for row in read_rows(path):
            key = (row["stage"], row["step"], row["split"])
            if key not in seen:
                seen.add(key)
                on_metrics(row)
        if last:
            return
