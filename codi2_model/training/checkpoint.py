"""Training checkpoints: a folder that `from_pretrained` reads, with the state for an exact resume in `trainer/`.

- Writes are atomic (temporary folder, then rename): a kill at any moment leaves the previous checkpoint intact.
- Random states are not saved, because every step seeds torch from (run seed, stage, step, rank).
- Names sort in the order of the run: `1-align-0000200`, `2-decoders-0000100`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from codi2_model.training.config import STAGES
from codi2_storage.locations.files import as_new, flush

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint cannot be read; the message names the file."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: `step` optimiser steps of `stage` are done, with the state of the loader and the metrics."""

    stage: str
    step: int
    finished: bool = False
    """The stage is finished (in the folder `final`: the run)."""
    loader: dict[str, Any] = field(default_factory=dict)
    window: dict[str, Any] = field(default_factory=dict)
    """Sums and counts of losses since the last row of metrics.jsonl."""
    bad_steps: int = 0
    norms: list[float] = field(default_factory=list)
    """Gradient norms of the last steps taken."""
    stage_state: dict[str, Any] = field(default_factory=dict)
    """The stage's own state (`Stage.prepare`)."""
    format: int = FORMAT


def checkpoint_name(progress: Progress) -> str:
    """Folder name; sorts in the order of the run, after the initial model `0-start`."""
    return f"{STAGES.index(progress.stage) + 1}-{progress.stage}-{progress.step:07d}"


@dataclass(frozen=True)
class State:
    """Content of a checkpoint in addition to the model: state of the optimiser and of the moving average."""

    optimizer: dict[str, Any] | None = None
    ema: dict[str, torch.Tensor] | None = None
    weights: dict[str, torch.Tensor] | None = None
    """The state dict of a sharded model, gathered from all workers; None: the model has its own."""


def save(
    folder: Path, model: Any, processor: Any, progress: Progress, state: State | None = None, shard_mb: int = 4000
) -> Path:
    """Write a checkpoint atomically at `folder`, replacing an existing one, with weights in files of up to `shard_mb` MB."""
    state = state or State()
    temporary = folder.parent / f".tmp-{folder.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    trainer = temporary / "trainer"
    trainer.mkdir(parents=True)
    gathered = {} if state.weights is None else {"state_dict": state.weights}
    model.save_pretrained(temporary, max_shard_size=f"{shard_mb}MB", **gathered)
    processor.save_pretrained(temporary)
    if state.optimizer is not None:
        torch.save(state.optimizer, trainer / "optimizer.pt")
    if state.ema is not None:
        save_file(state.ema, trainer / "ema.safetensors")
    (trainer / "progress.json").write_text(json.dumps(asdict(progress), indent=1))
    as_new(temporary)  # safetensors writes for the owner alone
    for path in temporary.rglob("*"):
        flush(path)
    discard(folder)
    temporary.rename(folder)
    flush(folder.parent)
    return folder


def load_progress(folder: Path) -> Progress:
    """Read `trainer/progress.json`. Raises CheckpointError if it is missing, broken or of another format."""
    file = folder / "trainer" / "progress.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read as the progress of a training run: {error}") from error
    if data.get("format") != FORMAT:
        raise CheckpointError(f"{file}: format {data.get('format')} is not supported, expected {FORMAT}")
    return Progress(**data)


def load_state(folder: Path) -> State:
    """Load the state of the optimiser (memory-mapped) and of the moving average.

    Raises CheckpointError if the state of the optimiser is missing.
    """
    file, average = folder / "trainer" / "optimizer.pt", folder / "trainer" / "ema.safetensors"
    if not file.exists():
        raise CheckpointError(f"{file}: missing, so the run cannot resume from this checkpoint")
    optimizer = torch.load(file, weights_only=True, mmap=True, map_location="cpu")
    return State(optimizer, load_file(average) if average.exists() else None)


def all_checkpoints(out_dir: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(p for p in (out_dir / "checkpoints").glob("[0-9]-*") if p.is_dir())


def latest(out_dir: Path) -> Path | None:
    """The latest checkpoint of a run, or None."""
    checkpoints = all_checkpoints(out_dir)
    return checkpoints[-1] if checkpoints else None


def prune(out_dir: Path, keep: int) -> None:
    """Remove all but the `keep` latest checkpoints, and temporary folders of killed processes."""
    for old in all_checkpoints(out_dir)[:-keep]:
        discard(old)
    for leftover in (out_dir / "checkpoints").glob(".tmp-*"):
        shutil.rmtree(leftover)


def discard(folder: Path) -> None:
    """Remove a folder if it exists. It is renamed first, so that a kill leaves no partial checkpoint under its name."""
    if folder.exists():
        doomed = folder.with_name(f".tmp-old-{folder.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)
