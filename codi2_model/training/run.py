"""Train a model from local shards: `python -m codi2_model.training.run CONFIG --shards 'GLOB' --out DIR`.

Plain Python, one process a worker; needs torch, transformers, diffusers, numpy, pillow, soundfile and pyyaml only.
A run lives in one folder: `run.json` (what it was asked), `checkpoints/`, `metrics.jsonl`, `loss.png`, `final/`.
Started again with the same arguments it goes on where it stopped, or returns at once if it is done.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.training import checkpoint as ckpt
from codi2_model.training.checkpoint import Progress
from codi2_model.training.config import STAGES, ConfigError, TrainConfig
from codi2_model.training.data.shards import MediaCache, ShardError, ShardSet, expand
from codi2_model.training.device import note
from codi2_model.training.loop import OutOfTime, Runtime, TrainingDiverged, run_stage
from codi2_model.training.metrics.journal import Journal, Row
from codi2_model.training.metrics.plot import plot_losses
from codi2_model.training.metrics.tensorboard import Board
from codi2_model.training.optim.ema import Ema
from codi2_model.training.optim.optimizers import Optimizer
from codi2_model.training.parallel import (
    is_sharded,
    load_whole_optimizer,
    prepare,
    shard,
    whole_optimizer,
    whole_weights,
)
from codi2_model.training.stages.align import align_stage
from codi2_model.training.stages.decoders import decoders_stage
from codi2_model.training.stages.mllm import mllm_stage
from codi2_model.training.warm_start import begin, model_config
from codi2_storage.locations.files import write_whole

MAKERS = {"align": align_stage, "decoders": decoders_stage, "mllm": mllm_stage}
TOKENIZER_SAMPLES = 20_000  # a task, from which a tokenizer is learnt


class RunError(ValueError):
    """The folder holds another run."""


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
    """Run all stages, or what is left of them. Returns the folder of the final checkpoint.

    shards: paths or globs of local tars; train and validation splits are told apart by their samples. With `world` > 1
    every worker calls this inside an initialised torch.distributed group, and `out_dir` is a folder that all see.
    minutes: after about so many the state is saved and OutOfTime raised; the same call goes on there.
    start: folder of a checkpoint whose weights the run begins with; None: from scratch.
    Raises ConfigError, ShardError, StartError, RunError or TrainingDiverged with a message that names the cause.
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
        note(out)
    try:
        _train(config, ShardSet(paths), out, rank, world, on_metrics, quiet, until, start)
    finally:
        torch.set_num_threads(threads)
        if not grouped and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the group of one that `alone` made
    return final


def _train(
    config: TrainConfig,
    shards: ShardSet,
    out: Path,
    rank: int,
    world: int,
    on_metrics: Callable[[Row], None] | None,
    quiet: bool,
    until: float,
    begin_with: str | Path | None,
) -> None:
    from transformers.utils import logging as transformers_logging

    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    transformers_logging.disable_progress_bar()
    runtime = Runtime(torch.device("cuda" if torch.cuda.is_available() else "cpu"), rank, world, config.precision)
    board = Board(out / "tensorboard") if config.tensorboard and rank == 0 else None
    journal = Journal(out / "metrics.jsonl" if rank == 0 else None, on_metrics, quiet, board)
    if rank == 0 and ckpt.latest(out) is None:
        create(config, shards, out, begin_with)
    barrier(world)
    start = ckpt.latest(out)
    assert start is not None
    progress = ckpt.load_progress(start)
    journal.rewind(progress.stage, progress.step)
    model = CoDi2ForConditionalGeneration.from_pretrained(start).to(runtime.device)
    processor = CoDi2Processor.from_pretrained(start)
    cache = MediaCache(shards, processor.medium, config.cache_mb)

    prepare(model, config)

    def save(progress: Progress, optimizer: Optimizer, ema: Ema | None) -> None:
        state = state_of(model, None if progress.finished else optimizer, ema)
        if rank == 0:
            folder = out / "checkpoints" / ckpt.name_of(progress)
            ckpt.save(folder, model, processor, progress, state, config.shard_mb)
            ckpt.prune(out, config.keep_checkpoints)
        barrier(world)

    def restore(optimizer: Optimizer, ema: Ema | None) -> None:
        state = ckpt.load_state(start)
        if is_sharded(model):
            load_whole_optimizer(optimizer, state.optimizer or {})
        else:
            optimizer.load_state_dict(state.optimizer or {})
        if ema is not None and state.ema is not None:
            ema.load_state_dict(state.ema)

    for name in STAGES[STAGES.index(progress.stage) :]:
        here = progress if name == progress.stage else None
        if config.stage(name).steps == 0 or (here is not None and here.finished):
            continue
        if name == "mllm" and config.parallel == "fsdp":
            alone()
            shard(model, runtime.device, runtime.half)
        elif config.parallel == "fsdp":
            journal.say(f"{name}: not sharded, fsdp is for the mllm stage; every worker holds the whole model")
        stage = MAKERS[name](model, processor, shards, cache, config, runtime)
        missing = sorted(set(config.stage(name).tasks) - set(stage.source.sizes))
        if missing:
            journal.say(f"{name}: no train samples for {', '.join(missing)}, left out")
        resumed = here if here is not None and here.step else None
        if resumed is not None:
            journal.say(f"{name}: going on after step {resumed.step} of {start}")
        run_stage(
            stage, config, model, runtime, journal, resumed, restore if resumed is not None else None, save, until
        )
    state = state_of(model, None, None)
    if rank == 0:
        plot(out, journal)
        ckpt.save(
            out / "final", model, processor, Progress(STAGES[-1], config.mllm.steps, True), state, config.shard_mb
        )
    if board is not None:
        board.close()
    barrier(world)


def state_of(model: Any, optimizer: Optimizer | None, ema: Ema | None) -> ckpt.State:
    """What a checkpoint holds; where the model is spread over workers, all of them take part in gathering it."""
    average = None if ema is None else ema.state_dict()
    if not is_sharded(model):
        return ckpt.State(None if optimizer is None else optimizer.state_dict(), average)
    moments = None if optimizer is None else whole_optimizer(optimizer)
    return ckpt.State(moments, average, whole_weights(model))


def create(config: TrainConfig, shards: ShardSet, out: Path, start: str | Path | None = None) -> None:
    """Make the model and its processor, and write them as the run's first checkpoint: all workers start from it."""
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    if start is not None:
        model, processor = begin(start, config)
    else:
        asked = model_config(config)
        processor = CoDi2Processor.build(asked, texts=train_texts(config, shards))
        model = CoDi2ForConditionalGeneration.build(asked, seed=config.seed)
    ckpt.save(out / "checkpoints" / "0-start", model, processor, Progress(STAGES[0], 0))


def train_texts(config: TrainConfig, shards: ShardSet) -> Iterator[str]:
    """What is said in the train samples of all tasks that the config names, in a fixed order."""
    for task in sorted({task for name in STAGES for task in config.stage(name).tasks}):
        records = shards.get(task, "train")
        stride = max(1, len(records) // TOKENIZER_SAMPLES)
        for record in records[::stride]:
            yield from (part.text for part in shards.sample(record).parts() if part.text)


def claim(out: Path, config: TrainConfig, paths: Iterable[str], start: str | Path | None = None) -> None:
    """Write what this run is, or check that the folder's run is the same."""
    data = [["/".join(Path(path).parts[-2:]), Path(path).stat().st_size] for path in paths]
    asked = json.loads(json.dumps({"config": config.to_dict(), "shards": data}))
    if start is not None:
        asked["start"] = weights_digest(start)  # a copy of the weights elsewhere is the same start
    file = out / "run.json"
    if not file.exists():
        write_whole(file, json.dumps(asked, indent=1))
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    if found != asked:
        changed = [k for k in ("config", "shards", "start") if found.get(k) != asked.get(k)]
        if changed[0] == "config":
            old, new = found["config"], asked["config"]
            changed = [f"config {key}" for key in new if old.get(key) != new[key]]
        raise RunError(f"{out} holds a run with other {', '.join(changed)}; give another folder, or remove it")


def alone() -> None:
    """A process group of one, where there is none yet: a single GPU can use FSDP too."""
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)


def barrier(world: int) -> None:
    if world > 1:
        torch.distributed.barrier()


def plot(out: Path, journal: Journal) -> None:
    """Draw loss.png; a machine without matplotlib trains as well."""
    try:
        plot_losses(out / "metrics.jsonl", out / "loss.png")
    except ImportError:
        journal.say("matplotlib is not installed: no loss.png")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="codi2_model.training.run", description="Train a model from local shards.")
    parser.add_argument("config", help="training config: a YAML file, or a preset (demo, test)")
    parser.add_argument("--shards", nargs="+", required=True, help="paths or globs of shard tars, all splits")
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after so many, state saved, exit status 3: call it again"
    )
    parser.add_argument("--start", help="folder of a checkpoint to begin with; its parts must be those of the config")
    given: Any = parser.parse_args(arguments)
    try:
        config = TrainConfig.from_yaml(given.config)
        print(train(config, given.shards, given.out, minutes=given.minutes, start=given.start))
    except OutOfTime as where:
        print(f"time is over at {where}; the same command goes on there", file=sys.stderr)
        return 3
    except (ConfigError, ShardError, RunError, TrainingDiverged, FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
