"""Training loop of all stages: optimiser steps, learning rate schedule, clipping, skipped steps, exact resume.

A stage defines which modules are trained (`modules`), its samples (`source`) and its losses (`losses`); see `stages`. Every
step seeds torch from (run seed, stage, step, rank), so its result depends only on the weights, the optimiser state and the
step number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from codi2_model.training.checkpoint import Progress
from codi2_model.training.config import STAGES, StageConfig, TrainConfig
from codi2_model.training.data.mixture import Draw, Loader, Mixture
from codi2_model.training.metrics.journal import Journal, losses_text
from codi2_model.training.metrics.meter import Meter, Window
from codi2_model.training.optim.ema import Ema, gather_tensor
from codi2_model.training.optim.optimizers import Optimizer, make_optimizer
from codi2_model.training.optim.spike_guard import SpikeGuard
from codi2_model.training.parallel import ZERO_LOSS, average_gradients, is_sharded, reshard


class OutOfTime(Exception):
    """The time limit of this call is reached; the state is saved and the same call resumes from it."""


class TrainingDiverged(RuntimeError):
    """Too many steps in a row were skipped: loss or gradient not finite, or a gradient spike."""


class Source(Protocol):
    """Samples of a stage by task. `load` builds a batch on the CPU."""

    @property
    def sizes(self) -> Mapping[str, int]: ...

    def load(self, draws: Sequence[Draw]) -> Any: ...


@dataclass
class Stage:
    """One training stage: modules to train, samples, losses and evaluation."""

    name: str
    modules: list[nn.Module]
    """Modules to train; all others stay frozen and in eval mode."""
    source: Source
    counts: Callable[[Sequence[Draw], int], dict[str, float]]
    """(all draws of a step, over micro-batches and workers; step number) -> divisor of each loss."""
    losses: Callable[[Any, Mapping[str, float]], dict[str, torch.Tensor]]
    """(batch on the device, divisors of the step) -> the batch's share of each loss, a scalar.

    The shares of all micro-batches and workers add up to the loss of the step. Losses without samples in the batch are
    left out."""
    weights: dict[str, float]
    evaluate: Callable[[], dict[str, float]]
    """Scores on the validation split."""
    length: Callable[[Draw], int] | None = None
    """Number of tokens of a draw, to group samples of similar length into micro-batches. None: keep the order of draws."""
    prepare: Callable[[dict[str, Any] | None], dict[str, Any]] = lambda saved: saved or {}
    """(state in the checkpoint, None at the start of the stage) -> state of the stage, for its checkpoints. Called once, before
    the first step."""


@dataclass(frozen=True)
class Runtime:
    """Device, rank, number of workers and precision of a run."""

    device: torch.device
    rank: int = 0
    world: int = 1
    precision: str = "auto"

    @property
    def half(self) -> bool:
        """Whether the run computes in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and self.device.type == "cuda")

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast to bfloat16 if `half`, else a null context."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()


def seed_step(seed: int, stage: str, step: int, rank: int) -> None:
    """Seed torch from (run seed, stage, step, rank)."""
    words = np.random.SeedSequence([seed, STAGES.index(stage), step, rank]).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))


def learning_rate(config: StageConfig, step: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then the schedule from `lr` to `final_lr * lr`."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    floor = config.final_lr * config.lr
    height = {
        "constant": 1.0,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "linear": 1.0 - done,
        "wsd": min(1.0, (config.steps - step) / max(1.0, config.decay * config.steps)),
    }[config.schedule]
    return config.lr if config.schedule == "constant" else floor + (config.lr - floor) * height


Save = Callable[[Progress, Optimizer, Ema | None], None]
Restore = Callable[[Optimizer, Ema | None], None]


def run_stage(
    stage: Stage,
    config: TrainConfig,
    model: nn.Module,
    runtime: Runtime,
    journal: Journal,
    start: Progress | None,
    restore: Restore | None,
    save: Save,
    until: float = math.inf,
) -> None:
    """Train a stage from `start` (None: from step 0) to its end, with checkpoints as configured.

    Saves the state and raises OutOfTime after the step in which the monotonic clock passes `until`. Raises
    TrainingDiverged after `max_bad_steps` skipped steps in a row.
    """
    options = config.stage(stage.name)
    freeze(model)
    stage_state = stage.prepare(start.stage_state if start is not None else None)
    parameters = thaw(stage, model)
    optimizer = make_optimizer(stage.modules, options, runtime.device)
    ema = Ema(parameters, options.ema) if options.ema else None
    early = options.early_steps * options.batch_size, options.early_tasks
    mixture = Mixture(stage.source.sizes, options.tasks, config.seed, early)
    micro = options.batch_size // options.accumulation
    loader = Loader(
        mixture,
        stage.source.load,
        micro,
        runtime.rank,
        runtime.world,
        config.dataloader_workers,
        stage.length,
    )
    step, bad, window, guard = 0, 0, Window(), SpikeGuard(options.spike_factor)
    if start is not None:
        step, bad, window = start.step, start.bad_steps, Window(start.window)
        guard = SpikeGuard(options.spike_factor, start.norms)
        loader.load_state_dict(start.loader)
    if restore is not None:
        restore(optimizer, ema)
    sharded = is_sharded(model)
    meter = Meter(step)
    try:
        while step < options.steps:
            seed_step(config.seed, stage.name, step, runtime.rank)
            rate = learning_rate(options, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            losses = backward(stage, loader, options.accumulation, step, runtime, meter)
            if not sharded:  # FSDP averages gradients itself
                average_gradients(parameters, runtime.world)
            norm = float(gather_tensor(nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)))
            step += 1
            fault = guard.fault(norm if is_finite_everywhere(losses["loss"], runtime) else math.nan)
            if not fault:  # gradients are equal on all workers, so all of them skip a step or none does
                optimizer.step()
                if ema is not None:
                    ema.update()
                window.add({**losses, "grad_norm": norm})
                bad = 0
            else:
                bad += 1
                journal.print(f"{stage.name} {step}: skipped, {fault} ({bad} skipped in a row)")
                if bad >= config.max_bad_steps:
                    raise divergence_error(stage, step, bad, fault, losses)
            last = step == options.steps
            if step % config.log_every == 0 or last:
                means = window.means([*stage.weights, "loss", "grad_norm"], runtime.device, runtime.world)
                report(stage, step, options.steps, means, rate, meter, journal)
            if last or (options.eval_every and step % options.eval_every == 0):
                reshard(model)
                with ema.applied() if ema is not None else nullcontext():
                    validate(stage, step, config, runtime, journal, everywhere=sharded)
                    reshard(model)
            late = is_time_over(until, runtime)
            due = options.checkpoint_every and step % options.checkpoint_every == 0
            if not last and (due or late):
                state = loader.state_dict(), window.state_dict()
                save(Progress(stage.name, step, False, *state, bad, list(guard.norms), stage_state), optimizer, ema)
                if late:
                    raise OutOfTime(f"{stage.name} {step}/{options.steps}")
    finally:
        loader.close()
    if ema is not None:
        ema.apply()
    freeze(model)
    save(Progress(stage.name, step, True), optimizer, None)


def is_time_over(until: float, runtime: Runtime) -> bool:
    """Whether the clock of rank 0 has passed `until`. All workers get the same answer, and stop after the same step."""
    if until == math.inf:
        return False
    late = torch.tensor(float(time.monotonic() >= until), device=runtime.device)
    if runtime.world > 1:
        torch.distributed.broadcast(late, 0)
    return bool(late.item())


def freeze(model: nn.Module) -> None:
    """Put the model into eval mode and turn all gradients off."""
    model.eval()
    model.requires_grad_(False)


def thaw(stage: Stage, model: nn.Module) -> list[nn.Parameter]:
    """Freeze the model except for the modules of the stage. Returns their parameters."""
    freeze(model)
    for module in stage.modules:
        module.train()
        module.requires_grad_(True)
    return [p for module in stage.modules for p in module.parameters()]


def backward(
    stage: Stage, loader: Loader[Any], accumulation: int, step: int, runtime: Runtime, meter: Meter
) -> dict[str, float]:
    """Accumulate the gradients of one optimiser step. Returns its losses.

    Gradients and losses are those of this worker's share times the number of workers, so that their mean over the
    workers is that of the step. A loss is divided by the count of the whole step, so the gradient does not depend on
    how the step is split into micro-batches and shares.
    """
    with meter.waiting():
        shares = loader.step(accumulation)
    counts = stage.counts(shares.draws, step)
    weights = {**stage.weights, ZERO_LOSS: 1.0}
    totals = dict.fromkeys([*counts, "loss"], 0.0)
    for batch in shares.batches:
        with runtime.autocast():
            losses = stage.losses(move(batch, runtime.device), counts)
        total = sum((weights[n] * value.float() for n, value in losses.items()), torch.zeros(()))
        if total.requires_grad:
            (total * loader.world).backward()
        for name, value in {**losses, "loss": total}.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) * loader.world
    return totals


def is_finite_everywhere(loss: float, runtime: Runtime) -> bool:
    """Whether the loss is finite on all workers. A loss can be NaN while its gradients are finite."""
    bad = torch.tensor(float(not math.isfinite(loss)), device=runtime.device)
    if runtime.world > 1:
        torch.distributed.all_reduce(bad)
    return not bad.item()


def report(
    stage: Stage, step: int, steps: int, means: dict[str, float], rate: float, meter: Meter, journal: Journal
) -> None:
    """Write a row of train metrics and print progress."""
    row = {"stage": stage.name, "step": step, "split": "train", **means, "lr": rate, **meter.read()}
    journal.write(row)
    speed = meter.speed(step)
    text = f"{stage.name} {step}/{steps} {losses_text(row)} | {speed:.1f} steps/s, {(steps - step) / speed:.0f} s left"
    journal.print(text, every=0.0 if step == steps else 5.0)


def divergence_error(stage: Stage, step: int, bad: int, fault: str, losses: dict[str, float]) -> TrainingDiverged:
    """The error for too many skipped steps, with the last losses and a remedy."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in losses.items() if name != ZERO_LOSS)
    return TrainingDiverged(
        f"stage {stage.name}: {bad} steps in a row were skipped, the last was step {step} ({fault}; {values}); "
        f"lower {stage.name}.lr or raise max_bad_steps"
    )


def validate(
    stage: Stage, step: int, config: TrainConfig, runtime: Runtime, journal: Journal, everywhere: bool = False
) -> None:
    """Evaluate the stage with the same samples and noise each time, on rank 0.

    everywhere: on all ranks, as a sharded model needs.
    """
    if (runtime.rank and not everywhere) or not config.stage(stage.name).eval_samples:
        return
    for module in stage.modules:
        module.eval()
    seed_step(config.seed, stage.name, 0, 0)
    start = time.monotonic()
    with torch.no_grad(), runtime.autocast():
        scores = stage.evaluate()
    for module in stage.modules:
        module.train()
    if scores:
        row = {"stage": stage.name, "step": step, "split": "validation", **scores}
        journal.write({**row, "seconds": round(time.monotonic() - start, 3)})
        journal.print(f"{stage.name} {step} validation: {losses_text(row)}")


def move(batch: Any, device: torch.device) -> Any:
    """Move a batch (tensor, dict, list, or any object with `.to`) to the device."""
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: move(v, device) for k, v in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(move(v, device) for v in batch)
    return batch
