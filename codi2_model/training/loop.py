"""The one training loop that all stages share: AdamW, warm-up and cosine, clipping, skipped bad steps, exact resume.

A stage says what is trained (`parameters`), what it reads (`source`) and what it minimises (`losses`); see align.py,
decoders.py and mllm.py. Every step seeds torch from (run seed, stage, step, rank), so a step depends on the weights,
the optimiser and the step's number alone.
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
from codi2_model.training.optim.ema import Ema, whole
from codi2_model.training.optim.optimizers import Optimizer, make_optimizer
from codi2_model.training.optim.spike_guard import Guard
from codi2_model.training.parallel import REACH, average_gradients, forget_gathered, is_sharded


class OutOfTime(Exception):
    """The time given to this piece of a run is over; what was done is saved."""


class TrainingDiverged(RuntimeError):
    """Too many steps in a row were skipped: no finite loss or gradient, or one far above the usual."""


class Source(Protocol):
    """Samples of a stage, by task; `load` makes a batch of them on the CPU."""

    @property
    def sizes(self) -> Mapping[str, int]: ...

    def load(self, draws: Sequence[Draw]) -> Any: ...


@dataclass
class Stage:
    name: str
    modules: list[nn.Module]
    """What is trained; everything else stays frozen and in eval mode."""
    source: Source
    counts: Callable[[Sequence[Draw], int], dict[str, float]]
    """The draws of a whole step, of all micro-batches and workers, and the step's number -> what each loss is divided by."""
    losses: Callable[[Any, Mapping[str, float]], dict[str, torch.Tensor]]
    """Batch on the device, the step's counts -> the batch's part of each loss, a scalar: the parts of all micro-batches and
    workers add up to the loss of the step. One without samples in the batch is left out."""
    weights: dict[str, float]
    evaluate: Callable[[], dict[str, float]]
    """Scores on the validation split."""
    length: Callable[[Draw], int] | None = None
    """Tokens of a draw's sample: micro-batches hold samples of like lengths. None: in the order that they were drawn."""


@dataclass(frozen=True)
class Runtime:
    """Where and with whom a run computes."""

    device: torch.device
    rank: int = 0
    world: int = 1
    precision: str = "auto"

    @property
    def half(self) -> bool:
        """Whether it computes in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and self.device.type == "cuda")

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()


def seed_step(seed: int, stage: str, step: int, rank: int) -> None:
    """Make all randomness of a step its own."""
    words = np.random.SeedSequence([seed, STAGES.index(stage), step, rank]).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))


def learning_rate(config: StageConfig, step: int) -> float:
    """Linear warm-up, then the schedule from `lr` to `final_lr * lr`. `step` counts from 0."""
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
    """Train a stage from `start` (None: from its beginning) to its end, saving as its config says.

    Raises OutOfTime, the state saved, after the step in which the monotonic clock passes `until`.
    """
    options = config.stage(stage.name)
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
        config.workers,
        stage.length,
    )
    step, bad, window, guard = 0, 0, Window(), Guard(options.spike_factor)
    if start is not None:
        step, bad, window = start.step, start.bad_steps, Window(start.window)
        guard = Guard(options.spike_factor, start.norms)
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
            seen = backward(stage, loader, options.accumulation, step, runtime, meter)
            if not sharded:  # else the gradients are averaged already
                average_gradients(parameters, runtime.world)
            norm = float(whole(nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)))
            step += 1
            fault = guard.fault(norm if finite_everywhere(seen["loss"], runtime) else math.nan)
            if not fault:  # the same on every worker, as the gradients are: all skip a step or none
                optimizer.step()
                if ema is not None:
                    ema.update()
                window.add({**seen, "grad_norm": norm})
                bad = 0
            else:
                bad += 1
                journal.say(f"{stage.name} {step}: {fault}, step skipped ({bad} in a row)")
                if bad >= config.max_bad_steps:
                    raise diverged(stage, step, bad, fault, seen)
            last = step == options.steps
            if step % config.log_every == 0 or last:
                means = window.means([*stage.weights, "loss", "grad_norm"], runtime.device, runtime.world)
                report(stage, step, options.steps, means, rate, meter, journal)
            if last or (options.eval_every and step % options.eval_every == 0):
                forget_gathered(model)
                with ema.in_place() if ema is not None else nullcontext():
                    validate(stage, step, config, runtime, journal, everywhere=sharded)
                    forget_gathered(model)
            late = over(until, runtime)
            due = options.checkpoint_every and step % options.checkpoint_every == 0
            if not last and (due or late):
                state = loader.state_dict(), window.state_dict()
                save(Progress(stage.name, step, False, *state, bad, list(guard.norms)), optimizer, ema)
                if late:
                    raise OutOfTime(f"{stage.name} {step}/{options.steps}")
    finally:
        loader.close()
    if ema is not None:
        ema.apply()
    freeze(model)
    save(Progress(stage.name, step, True), optimizer, None)


def over(until: float, runtime: Runtime) -> bool:
    """Whether the clock of the first worker has passed `until`: all stop after the same step."""
    if until == math.inf:
        return False
    late = torch.tensor(float(time.monotonic() >= until), device=runtime.device)
    if runtime.world > 1:
        torch.distributed.broadcast(late, 0)
    return bool(late.item())


def freeze(model: nn.Module) -> None:
    model.eval()
    model.requires_grad_(False)


def thaw(stage: Stage, model: nn.Module) -> list[nn.Parameter]:
    """Freeze the model but for what the stage trains; returns that."""
    freeze(model)
    for module in stage.modules:
        module.train()
        module.requires_grad_(True)
    return [p for module in stage.modules for p in module.parameters()]


def backward(
    stage: Stage, loader: Loader[Any], accumulation: int, step: int, runtime: Runtime, meter: Meter
) -> dict[str, float]:
    """Add up the gradients of one optimiser step; returns its losses.

    Both are those of this worker's share times the number of workers, whose mean is that of the step: a loss is divided
    by what the whole step counts, so the gradient does not depend on how the step is cut.
    """
    with meter.waiting():
        shares = loader.step(accumulation)
    counts = stage.counts(shares.draws, step)
    weights = {**stage.weights, REACH: 1.0}
    seen = dict.fromkeys([*counts, "loss"], 0.0)
    for batch in shares.batches:
        with runtime.autocast():
            losses = stage.losses(move(batch, runtime.device), counts)
        total = sum((weights[n] * value.float() for n, value in losses.items()), torch.zeros(()))
        if total.requires_grad:
            (total * loader.world).backward()
        for name, value in {**losses, "loss": total}.items():
            seen[name] = seen.get(name, 0.0) + float(value.detach()) * loader.world
    return seen


def finite_everywhere(loss: float, runtime: Runtime) -> bool:
    """Whether the loss is finite on all workers; a loss can be nan while the gradients that it leaves are not."""
    bad = torch.tensor(float(not math.isfinite(loss)), device=runtime.device)
    if runtime.world > 1:
        torch.distributed.all_reduce(bad)
    return not bad.item()


def report(
    stage: Stage, step: int, steps: int, means: dict[str, float], rate: float, meter: Meter, journal: Journal
) -> None:
    row = {"stage": stage.name, "step": step, "split": "train", **means, "lr": rate, **meter.read()}
    journal.write(row)
    speed = meter.speed(step)
    text = f"{stage.name} {step}/{steps} {losses_text(row)} | {speed:.1f} steps/s, {(steps - step) / speed:.0f} s left"
    journal.say(text, every=0.0 if step == steps else 5.0)


def diverged(stage: Stage, step: int, bad: int, fault: str, seen: dict[str, float]) -> TrainingDiverged:
    losses = ", ".join(f"{name} {value:.4g}" for name, value in seen.items() if name != REACH)
    return TrainingDiverged(
        f"stage {stage.name}: {bad} steps in a row were skipped, the last was step {step} ({fault}; {losses}); "
        f"lower {stage.name}.lr or raise max_bad_steps"
    )


def validate(
    stage: Stage, step: int, config: TrainConfig, runtime: Runtime, journal: Journal, everywhere: bool = False
) -> None:
    """Score the stage on rank 0 (everywhere: on all, who each hold a share of the model); the same samples and noise each time."""
    if (runtime.rank and not everywhere) or not config.stage(stage.name).eval_samples:
        return
    for module in stage.modules:
        module.eval()
    seed_step(config.seed, stage.name, 0, 0)
    began = time.monotonic()
    with torch.no_grad(), runtime.autocast():
        scores = stage.evaluate()
    for module in stage.modules:
        module.train()
    if scores:
        row = {"stage": stage.name, "step": step, "split": "validation", **scores}
        journal.write({**row, "seconds": round(time.monotonic() - began, 3)})
        journal.say(f"{stage.name} {step} validation: {losses_text(row)}")


def move(batch: Any, device: torch.device) -> Any:
    """A batch (tensor, dict, list, or anything with `.to`) on the device."""
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: move(v, device) for k, v in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(move(v, device) for v in batch)
    return batch
