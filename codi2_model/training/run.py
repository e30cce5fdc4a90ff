"""Train a model from local shards: `python -m codi2_model.training.run CONFIG --shards 'GLOB' --out DIR`.

Plain Python, one process per worker; needs only torch, transformers, diffusers, numpy, pillow, soundfile and pyyaml.
A run has one folder: `run.json` (config, shards and start), `checkpoints/`, `metrics.jsonl`, `loss.png`, `final/`.
The same command resumes an interrupted run from its last checkpoint, and returns at once if the run is finished.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from codi2_model.checkpoints.device import record_device
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.tracking import TrackedRun, Trackers, open_trackers
from codi2_model.training import checkpoint as ckpt
from codi2_model.training.checkpoint import Progress
from codi2_model.training.config import STAGES, TrainConfig
from codi2_model.training.data.shards import MediaCache, ShardSet, expand
from codi2_model.training.loop import OutOfTime, Runtime, TrainingDiverged, run_stage
from codi2_model.training.metrics.journal import Journal, Row
from codi2_model.training.metrics.plot import plot_losses
from codi2_model.training.optim.ema import Ema
from codi2_model.training.optim.optimizers import Optimizer
from codi2_model.training.parallel import (
    configure_layers,
    gather_optimizer_state,
    gather_weights,
    is_sharded,
    load_optimizer_state,
    shard,
)
from codi2_model.training.stages.align import align_stage
from codi2_model.training.stages.decoders import decoders_stage
from codi2_model.training.stages.mllm import mllm_stage
from codi2_model.training.stages.preference import preference_stage
from codi2_model.training.warm_start import model_config, warm_start
from codi2_storage.errors import UsageError
from codi2_storage.locations.files import write_whole

STAGE_FACTORIES = {"align": align_stage, "decoders": decoders_stage, "mllm": mllm_stage, "preference": preference_stage}
TOKENIZER_SAMPLES = 20_000  # maximum samples per task that the tokenizer is trained on


def train(
    config: TrainConfig,
    shards: Sequence[str | Path],
    out_dir: str | Path,
    rank: int = 0,
    world: int = 1,
    on_metrics: Callable[[Row], None] | None = None,
    quiet: bool = False,
    minutes: float = math.inf,
    start: str | Path | None = None,
) -> Path:
    """Run all stages, or the remaining ones of an interrupted run. Returns the folder of the final checkpoint.

    shards: paths or globs of local tars of the train and validation splits; the split is read from the samples.
    rank, world: with `world` > 1 every worker calls this inside an initialised torch.distributed group, and `out_dir`
    is a folder on shared storage.
    minutes: time limit, after which the state is saved and OutOfTime raised; the same call resumes the run.
    start: folder of a checkpoint to take the initial weights from; None: random initialisation.
    Raises UsageError, ShardError or TrainingDiverged with a message that names the cause.
    """
    until = time.monotonic() + 60 * minutes
    out = Path(out_dir)
    paths = expand(shards)
    final = out / "final"
    if rank == 0:
        claim(out, config, paths, start)
    barrier(world)
    if final.exists():
        return final
    threads, grouped = torch.get_num_threads(), torch.distributed.is_initialized()
    if config.threads:
        torch.set_num_threads(max(1, config.threads // world))
    if rank == 0:
        record_device(out)
    try:
        with tracked(config, out, rank) as trackers:
            journal = Journal(out / "metrics.jsonl" if rank == 0 else None, on_metrics, quiet, trackers)
            _train(config, ShardSet(paths), out, rank, world, journal, until, start)
    finally:
        torch.set_num_threads(threads)
        if not grouped and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # created by init_single_process_group
    return final


def _train(
    config: TrainConfig,
    shards: ShardSet,
    out: Path,
    rank: int,
    world: int,
    journal: Journal,
    until: float,
    start: str | Path | None,
) -> None:
    from transformers.utils import logging as transformers_logging

    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    transformers_logging.disable_progress_bar()
    runtime = Runtime(torch.device("cuda" if torch.cuda.is_available() else "cpu"), rank, world, config.precision)
    if rank == 0 and ckpt.latest(out) is None:
        save_initial_checkpoint(config, shards, out, start)
    barrier(world)
    checkpoint = ckpt.latest(out)
    assert checkpoint is not None
    progress = ckpt.load_progress(checkpoint)
    journal.rewind(progress.stage, progress.step)
    model = CoDi2ForConditionalGeneration.from_pretrained(checkpoint).to(runtime.device)
    processor = CoDi2Processor.from_pretrained(checkpoint)
    cache = MediaCache(shards, processor.medium, config.cache_mb)

    configure_layers(model, config)

    def save(progress: Progress, optimizer: Optimizer, ema: Ema | None) -> None:
        state = checkpoint_state(model, None if progress.finished else optimizer, ema)
        if rank == 0:
            folder = out / "checkpoints" / ckpt.checkpoint_name(progress)
            ckpt.save(folder, model, processor, progress, state, config.shard_mb)
            ckpt.prune(out, config.keep_checkpoints)
        barrier(world)

    def restore(optimizer: Optimizer, ema: Ema | None) -> None:
        state = ckpt.load_state(checkpoint)
        if is_sharded(model):
            load_optimizer_state(optimizer, state.optimizer or {})
        else:
            optimizer.load_state_dict(state.optimizer or {})
        if ema is not None and state.ema is not None:
            ema.load_state_dict(state.ema)

    for name in STAGES[STAGES.index(progress.stage) :]:
        stage_progress = progress if name == progress.stage else None
        if config.stage(name).steps == 0 or (stage_progress is not None and stage_progress.finished):
            continue
        if name == "mllm" and config.parallel == "fsdp":
            init_single_process_group()
            shard(model, runtime.device, runtime.half)
        elif config.parallel == "fsdp":
            journal.print(
                f"{name}: not sharded, because fsdp applies to the mllm stage only; every worker holds the whole model"
            )
        stage = STAGE_FACTORIES[name](model, processor, shards, cache, config, runtime)
        missing = sorted(set(config.stage(name).tasks) - set(stage.source.sizes))
        if missing:
            journal.print(f"{name}: skipped tasks without train samples: {', '.join(missing)}")
        resumed = stage_progress if stage_progress is not None and stage_progress.step else None
        if resumed is not None:
            journal.print(f"{name}: resuming after step {resumed.step} from {checkpoint}")
        run_stage(
            stage, config, model, runtime, journal, resumed, restore if resumed is not None else None, save, until
        )
    state = checkpoint_state(model, None, None)
    if rank == 0:
        write_loss_plot(out, journal)
        last = Progress(config.last_stage, config.stage(config.last_stage).steps, True)
        ckpt.save(out / "final", model, processor, last, state, config.shard_mb)
    barrier(world)


def tracked(config: TrainConfig, out: Path, rank: int) -> AbstractContextManager[Trackers]:
    """The trackers of a run, whose id in the catalog is the name of its folder. Only rank 0 reports."""
    if rank != 0:
        return nullcontext(Trackers())
    run = TrackedRun(out.absolute().name, "train", out, config.to_dict())
    return open_trackers(run, if_installed=("tensorboard",) if config.tensorboard else ())


def checkpoint_state(model: Any, optimizer: Optimizer | None, ema: Ema | None) -> ckpt.State:
    """The state to save with a checkpoint. Collective if the model is sharded: every worker must call it."""
    average = None if ema is None else ema.state_dict()
    if not is_sharded(model):
        return ckpt.State(None if optimizer is None else optimizer.state_dict(), average)
    moments = None if optimizer is None else gather_optimizer_state(optimizer)
    return ckpt.State(moments, average, gather_weights(model))


def save_initial_checkpoint(config: TrainConfig, shards: ShardSet, out: Path, start: str | Path | None = None) -> None:
    """Create model and processor, and save them as the first checkpoint of the run, from which all workers start."""
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    if start is not None:
        model, processor = warm_start(start, config)
    else:
        options = model_config(config)
        processor = CoDi2Processor.build(options, texts=train_texts(config, shards))
        model = CoDi2ForConditionalGeneration.build(options, seed=config.seed)
    ckpt.save(out / "checkpoints" / "0-start", model, processor, Progress(STAGES[0], 0))


def train_texts(config: TrainConfig, shards: ShardSet) -> Iterator[str]:
    """Texts of the train samples of all tasks of the config, in a fixed order, to train a tokenizer on."""
    for task in sorted({task for name in STAGES for task in config.stage(name).tasks}):
        records = shards.get(task, "train")
        stride = max(1, len(records) // TOKENIZER_SAMPLES)
        for record in records[::stride]:
            yield from (part.text for part in shards.sample(record).parts() if part.text)


def claim(out: Path, config: TrainConfig, paths: Iterable[str], start: str | Path | None = None) -> None:
    """Write `run.json`, or check that the folder holds the same run. Raises UsageError if it holds another one."""
    data = [["/".join(Path(path).parts[-2:]), Path(path).stat().st_size] for path in paths]
    run = json.loads(json.dumps({"config": config.to_dict(), "shards": data}))
    if start is not None:
        run["start"] = weights_digest(start)  # by content: a copy in another folder is the same start
    file = out / "run.json"
    if not file.exists():
        write_whole(file, json.dumps(run, indent=1))
        return
    existing = json.loads(file.read_text(encoding="utf-8"))
    if existing != run:
        changed = [k for k in ("config", "shards", "start") if existing.get(k) != run.get(k)]
        if changed[0] == "config":
            old, new = existing["config"], run["config"]
            changed = [f"config {key}" for key in new if old.get(key) != new[key]]
        raise UsageError(
            f"{out}: holds a run that differs in {', '.join(changed)}; choose another output folder or remove this one"
        )


def init_single_process_group() -> None:
    """Initialise a process group of one process, unless there is a group: FSDP needs one even on a single GPU."""
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)


def barrier(world: int) -> None:
    """Wait for all workers."""
    if world > 1:
        torch.distributed.barrier()


def write_loss_plot(out: Path, journal: Journal) -> None:
    """Write loss.png, if matplotlib is installed."""
    try:
        plot_losses(out / "metrics.jsonl", out / "loss.png")
    except ImportError:
        journal.print("loss.png not written: matplotlib is not installed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry point. Returns the exit status: 0 finished, 1 error, 3 time limit reached."""
    parser = argparse.ArgumentParser(prog="codi2_model.training.run", description="Train a model from local shards.")
    parser.add_argument("config", help="training config: a YAML file, or a name (demo, test, cpu, gpu, small)")
    parser.add_argument(
        "--shards", nargs="+", required=True, help="paths or globs of shard tars of the train and validation splits"
    )
    parser.add_argument("--out", required=True, help="output folder of the run")
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="time limit: save the state and exit with status 3; the same command resumes",
    )
    parser.add_argument(
        "--start", help="folder of a checkpoint to take the initial weights from; its model must match the config"
    )
    options: Any = parser.parse_args(arguments)
    try:
        config = TrainConfig.from_yaml(options.config)
        print(train(config, options.shards, options.out, minutes=options.minutes, start=options.start))
    except OutOfTime as progress:
        print(f"time limit reached at {progress}; run the same command to resume", file=sys.stderr)
        return 3
    except (ValueError, TrainingDiverged, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
