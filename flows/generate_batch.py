"""The flow `generate-batch`: requests in; samples in shards, a page, rows in `generations` and, if asked for, `scores` out.

A rerun continues where the last one stopped.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from prefect import flow, task

from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_model.serving.batch.generate_batch import BatchSettings, RayWorker, RequestChunk
from codi2_storage.store import Store


@task(name="generations", **TASK_OPTIONS)
def generations(requests: str, out: str, checkpoint: str | None, root: str, workers: int, seed: int, split: str) -> str:
    """Answer every request. Returns the URI of the page."""
    from codi2_model.serving.batch.generate_batch import generate_requests

    return generate_requests(requests, out, checkpoint, root, workers, seed, split, on_ray)


@task(name="scores", **TASK_OPTIONS)
def scores(root: str, build: str) -> int:
    """Score the replies to samples of a build. Returns their number."""
    from codi2_model.evaluation.bench.generated import score_generations

    return score_generations(root, build)


@flow(name="generate-batch", validate_parameters=False)
def generate_batch(
    requests: str,
    out: str,
    checkpoint: str | None = None,
    root: str = "./data",
    workers: int = 1,
    seed: int = 0,
    split: str = "train",
    score: str | None = None,
) -> str:
    """Answer a file of requests with a checkpoint (default: the promoted one). Returns the URI of the page.

    score: a build whose shards are the requests; the bench then scores the replies.
    """
    parameters: dict[str, Any] = {"requests": requests, "out": out, "checkpoint": checkpoint, "root": Store(root).uri()}
    parameters |= {"workers": workers, "seed": seed, "split": split, "score": score}
    with record_run("generate-batch", root, parameters) as run:
        page = generations(requests, out, checkpoint, root, workers, seed, split)
        run.update(uri=page)
        if score is not None:
            scores(root, score)
    return page


def on_ray(run: BatchSettings, chunks: Sequence[RequestChunk], workers: int) -> Iterator[int]:
    """Answer chunks on a pool of Ray actors, each with its own model. The chunk of a lost actor is answered again."""
    from codi2_datasets.runtime.ray_executor import local_cluster

    with local_cluster(max(workers, os.cpu_count() or 1)):
        import ray

        context = ray.data.DataContext.get_current()
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # the driver prints the progress
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        gpus = ray.cluster_resources().get("GPU", 0)
        dataset = ray.data.from_items(
            [{"chunk": pickle.dumps(chunk)} for chunk in chunks], override_num_blocks=len(chunks)
        )
        answered = dataset.map(
            RayWorker,  # type: ignore[arg-type]  # a class stands for its instances
            fn_constructor_args=(run,),
            # min_size 1: a pool that may not shrink would hang when a node is lost
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=1,
            num_gpus=min(1.0, gpus / workers) if gpus else None,
        )
        for row in answered.iter_rows():
            yield int(row["rows"])
