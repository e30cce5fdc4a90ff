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
from codi2_model.training.journal import Journal, losses_text
from codi2_model.training.mixture import Draw, Loader, Mixture


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a loss or gradient that is not finite."""


class Source(Protocol):
    """Samples of a stage, by task; `load` makes a batch of them on the CPU."""

    sizes: Mapping[str, int]

    def load(self, draws: Sequence[Draw]) -> Any: ...


@dataclass
class Stage:
    name: str
    modules: list[nn.Module]
    """What is trained; everything else stays frozen and in eval mode."""
    source: Source
    losses: Callable[[Any, int], dict[str, torch.Tensor]]
    """Batch on the device, number of the step -> scalar losses by name; one without samples in the batch is left out."""
    weights: dict[str, float]
    evaluate: Callable[[], dict[str, float]]
    """Scores on the validation split."""


@dataclass(frozen=True)
class Runtime:
    """Where and with whom a run computes."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def autocast(self) -> AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


def seed_step(seed: int, stage: str, step: int, rank: int) -> None:
    """Make all randomness of a step its own."""
    words = np.random.SeedSequence([seed, STAGES.index(stage), step, rank]).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))


def learning_rate(config: StageConfig, step: int) -> float:
    """Linear warm-up, then a half cosine from `lr` to `final_lr * lr`. `step` counts from 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    floor = config.final_lr * config.lr
    return floor + (config.lr - floor) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimizer(parameters: Sequence[nn.Parameter], config: StageConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW; vectors (biases, norms, queries) are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), fused=device.type in ("cpu", "cuda"))


def average_gradients(parameters: Sequence[nn.Parameter], world: int) -> None:
    """Replace every gradient by its mean over the workers; one message for all."""
    if world == 1:
        return
    for p in parameters:  # a worker whose share lacked a modality has no gradient for its parts
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch._utils._flatten_dense_tensors(grads)  # type: ignore[attr-defined]
    torch.distributed.all_reduce(flat)
    flat /= world
    for grad, mean in zip(grads, torch._utils._unflatten_dense_tensors(flat, grads), strict=True):  # type: ignore[attr-defined]
        grad.copy_(mean)


class Window:
    """Means of losses since the last row; part of the resumable state."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.sums: dict[str, float] = dict((state or {}).get("sums", {}))
        self.counts: dict[str, int] = dict((state or {}).get("counts", {}))

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, names: Sequence[str], runtime: Runtime) -> dict[str, float]:
        """Over all workers; a name nobody saw is left out."""
        table = torch.tensor([[self.sums.get(n, 0.0), self.counts.get(n, 0)] for n in names], dtype=torch.float64)
        if runtime.world > 1:
            table = table.to(runtime.device)
            torch.distributed.all_reduce(table)
        found = {n: float(s / c) for n, (s, c) in zip(names, table.cpu(), strict=True) if c > 0}
        self.sums, self.counts = {}, {}
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}


def run_stage(
    stage: Stage,
    config: TrainConfig,
    model: nn.Module,
    runtime: Runtime,
    journal: Journal,
    start: Progress | None,
    restore: Callable[[torch.optim.Optimizer], None] | None,
    save: Callable[[Progress, torch.optim.Optimizer], None],
) -> None:
    """Train a stage from `start` (None: from its beginning) to its end, saving as its config says."""
    options = config.stage(stage.name)
    model.eval()
    model.requires_grad_(False)
    for module in stage.modules:
        module.train()
        module.requires_grad_(True)
    parameters = [p for module in stage.modules for p in module.parameters()]
    optimizer = make_optimizer(parameters, options, runtime.device)
    mixture = Mixture(stage.source.sizes, options.tasks, config.seed)
    micro = options.batch_size // options.accumulation
    loader = Loader(mixture, stage.source.load, micro, runtime.rank, runtime.world, config.workers)
    window, step, bad = Window(), 0, 0
    if start is not None:
        step, bad, window = start.step, start.bad_steps, Window(start.window)
        loader.load_state_dict(start.loader)
        if restore is not None:
            restore(optimizer)
    names = [*stage.weights, "loss", "grad_norm"]
    first, began, said, waited = step, time.monotonic(), time.monotonic(), 0.0
    try:
        while step < options.steps:
            seed_step(config.seed, stage.name, step, runtime.rank)
            lr = learning_rate(options, step)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad(set_to_none=True)
            seen: dict[str, float] = {}
            for _ in range(options.accumulation):
                asked = time.monotonic()
                batch = loader.next()
                waited += time.monotonic() - asked
                with runtime.autocast():
                    losses = stage.losses(move(batch, runtime.device), step)
                total = sum((stage.weights[n] * value.float() for n, value in losses.items()), torch.zeros(()))
                if total.requires_grad:
                    (total / options.accumulation).backward()
                for name, value in {**losses, "loss": total}.items():
                    seen[name] = seen.get(name, 0.0) + float(value.detach()) / options.accumulation
            average_gradients(parameters, runtime.world)
            norm = nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)
            # The norm is the same on every worker, as the gradients are: all skip a step or none does.
            if bool(torch.isfinite(norm)):
                optimizer.step()
                window.add({**seen, "grad_norm": float(norm)})
                bad = 0
            else:
                bad += 1
                journal.say(f"{stage.name} {step + 1}: gradient norm {float(norm)}, step skipped ({bad} in a row)")
                if bad >= config.max_bad_steps:
                    raise TrainingDiverged(
                        f"stage {stage.name}: {bad} steps in a row had no finite gradient, the last was step {step + 1} "
                        f"(losses {seen}); lower {stage.name}.lr or raise max_bad_steps"
                    )
            step += 1
            last = step == options.steps
            if step % config.log_every == 0 or last:
                now = time.monotonic()
                row = {"stage": stage.name, "step": step, "split": "train", **window.means(names, runtime), "lr": lr}
                row |= {"data_wait": round(waited / max(now - said, 1e-9), 4), "seconds": round(now - said, 3)}
                said, waited = now, 0.0
                journal.write(row)
                speed = (step - first) / (now - began)
                left = (options.steps - step) / speed
                text = (
                    f"{stage.name} {step}/{options.steps} {losses_text(row)} | {speed:.1f} steps/s, {left:.0f} s left"
                )
                journal.say(text, every=0.0 if last else 5.0)
            if last or (options.eval_every and step % options.eval_every == 0):
                validate(stage, step, config, runtime, journal)
            if not last and options.checkpoint_every and step % options.checkpoint_every == 0:
                save(Progress(stage.name, step, False, loader.state_dict(), window.state_dict(), bad), optimizer)
    finally:
        loader.close()
    model.eval()
    model.requires_grad_(False)
    save(Progress(stage.name, step, True), optimizer)


def validate(stage: Stage, step: int, config: TrainConfig, runtime: Runtime, journal: Journal) -> None:
    """Score the stage on rank 0; the same samples and noise each time."""
    if runtime.rank or not config.stage(stage.name).eval_samples:
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
