"""Skipped steps and replaced checkpoints in whole runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.training import checkpoint
from codi2_model.training.checkpoint import Progress
from codi2_model.training.config import TrainConfig
from codi2_model.training.loop import TrainingDiverged
from codi2_model.training.run import train
from codi2_model.training.stages import align

from .conftest import curve


@pytest.fixture
def aligned(config: TrainConfig) -> TrainConfig:
    """Images only, so that there is one loss per step."""
    none = {name: replace(config.stage(name), steps=0) for name in ("decoders", "mllm")}
    tasks = {"text_to_image": 1.0}
    stage = replace(config.align, steps=12, tasks=tasks, spike_factor=20.0, checkpoint_every=11, clip=0.0)
    return replace(config, **none, align=stage)


def plant(monkeypatch: pytest.MonkeyPatch, bad: set[int], factor: float, plus: float) -> None:
    """Multiply the losses of some steps (from 1) by `factor`, and add `plus`, which does not change the gradient."""
    right, calls = align.align_loss, iter(range(1, 1000))

    def spoiled(*arguments: Any) -> torch.Tensor:
        return right(*arguments) * factor + plus if next(calls) in bad else right(*arguments)

    monkeypatch.setattr(align, "align_loss", spoiled)


@pytest.mark.parametrize(
    ("factor", "plus", "message"), [(1e4, 0.0, "times the recent median"), (1.0, float("nan"), "gradient norm nan")]
)
def test_a_planted_spike_or_a_loss_that_is_not_finite_is_skipped_and_said(
    aligned: TrainConfig, shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], factor: float, plus: float, message: str,
) -> None:  # fmt: skip
    plant(monkeypatch, {10}, factor, plus)
    train(aligned, shards, tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if ": skipped," in line]
    assert len(lines) == 1 and lines[0].startswith("align 10: ") and message in lines[0]
    assert [row["step"] for row in curve(tmp_path) if row["split"] == "train" and "grad_norm" not in row] == [10]
    progress = checkpoint.load_progress(tmp_path / "checkpoints" / "1-align-0000011")
    assert len(progress.norms) == 10 and max(progress.norms) < 100


def test_a_run_of_spikes_alone_stops_and_says_so(
    aligned: TrainConfig, shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, {9, 10, 11}, 1e4, 0.0)
    with pytest.raises(
        TrainingDiverged, match=r"3 steps in a row were skipped, the last was step 11 \(.*times the recent median"
    ):
        train(replace(aligned, max_bad_steps=3), shards, tmp_path, quiet=True)


def test_a_checkpoint_that_is_replaced_is_never_half_there(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = whole_run / "final"
    model, processor = CoDi2ForConditionalGeneration.from_pretrained(final), CoDi2Processor.from_pretrained(final)
    folder = tmp_path / "checkpoints" / "1-align-0000001"
    checkpoint.save(folder, model, processor, Progress("align", 1))
    right = shutil.rmtree

    def killed(path: Any, ignore_errors: bool = False) -> None:
        if ignore_errors:
            return right(path, ignore_errors=True)
        (Path(path) / "model.safetensors").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, model, processor, Progress("align", 1))
    assert not folder.exists()  # rather than half of it
    monkeypatch.setattr(shutil, "rmtree", right)
    checkpoint.save(folder, model, processor, Progress("align", 1))
    checkpoint.prune(tmp_path, 1)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    CoDi2ForConditionalGeneration.from_pretrained(folder)
