"""Training runs: bit-exact resume, rejection of another run's folder, divergence."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.training import checkpoint
from codi2_model.training.config import TrainConfig
from codi2_model.training.loop import OutOfTime, TrainingDiverged
from codi2_model.training.metrics.journal import Row
from codi2_model.training.run import main, train
from codi2_storage.errors import UsageError

from .conftest import curve, kill_when, weights
from .worker import CONTEXT, OURS, start, tell_modules


class Interrupted(Exception):
    pass


def test_a_run_leaves_a_model_a_processor_metrics_and_a_plot(whole_run: Path, config: TrainConfig) -> None:
    model = CoDi2ForConditionalGeneration.from_pretrained(whole_run / "final")
    CoDi2Processor.from_pretrained(whole_run / "final")
    assert model.config.loss_weights.diffusion == config.mllm.loss_weights["diffusion"]
    assert (whole_run / "loss.png").read_bytes().startswith(b"\x89PNG")
    rows = curve(whole_run)
    assert [(r["stage"], r["step"]) for r in rows if r["split"] == "train"] == [
        *(("align", n) for n in (1, 2, 3, 4)),
        *(("decoders", n) for n in (1, 2, 3)),
        *(("mllm", n) for n in (1, 2, 3, 4)),
    ]
    validation = [r for r in rows if r["split"] == "validation"]
    assert [r["stage"] for r in validation] == ["align", "decoders", "mllm"]
    assert {"tokens", "feature_cosine", "diffusion", "text_to_image_retrieval"} <= set(validation[-1])
    assert len(checkpoint.all_checkpoints(whole_run)) == config.keep_checkpoints
    assert not list(whole_run.rglob(".tmp*"))


def test_a_finished_run_returns_at_once(whole_run: Path, config: TrainConfig, shards: list[str]) -> None:
    began = time.monotonic()
    assert train(config, shards, whole_run) == whole_run / "final"
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("at", [("align", 4), ("decoders", 1), ("decoders", 3), ("mllm", 4)])
def test_a_run_stopped_by_an_exception_goes_on_to_the_bit(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path, at: tuple[str, int]
) -> None:
    def stop(row: Row) -> None:
        if (row["stage"], row["step"]) == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(config, shards, tmp_path, on_metrics=stop, quiet=True)
    assert not (tmp_path / "final").exists()
    train(config, shards, tmp_path, quiet=True)
    assert curve(tmp_path) == curve(whole_run)
    assert weights(tmp_path) == weights(whole_run)


def test_a_stopped_run_goes_on_to_the_bit_where_it_and_its_shards_were_moved(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    def stop(row: Row) -> None:
        if (row["stage"], row["step"]) == ("mllm", 2):
            raise Interrupted

    base = os.path.commonpath(shards)
    shutil.copytree(base, tmp_path / "one/shards")
    here = [str(tmp_path / "one/shards" / os.path.relpath(shard, base)) for shard in shards]
    with pytest.raises(Interrupted):
        train(config, here, tmp_path / "one/run", on_metrics=stop, quiet=True)
    (tmp_path / "one").rename(tmp_path / "a moved [1]")  # is no pattern
    there = [shard.replace("/one/", "/a moved [1]/") for shard in here]
    train(config, there, tmp_path / "a moved [1]/run", quiet=True)
    assert curve(tmp_path / "a moved [1]/run") == curve(whole_run)
    assert weights(tmp_path / "a moved [1]/run") == weights(whole_run)
    assert not (tmp_path / "one").exists()


def test_a_killed_process_goes_on_to_the_bit(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    file, out = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(config.to_dict()))
    command = [str(file), "--shards", *shards, "--out", str(out)]
    kill_when(lambda: any(row["stage"] == "decoders" for row in curve(out)), command)
    assert not (out / "final").exists()
    train(config, shards, out, quiet=True)
    assert curve(out) == curve(whole_run)
    assert weights(out) == weights(whole_run)


def test_a_run_in_pieces_comes_to_the_same_bits(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    pieces = 0
    while not (tmp_path / "final").exists():
        try:
            train(config, shards, tmp_path, quiet=True, minutes=0)  # a step each
        except OutOfTime:
            pieces += 1
    assert pieces == 8  # the last step of a stage ends no piece
    assert curve(tmp_path) == curve(whole_run)
    assert weights(tmp_path) == weights(whole_run)


def test_threads_that_load_ahead_change_nothing(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    train(replace(config, dataloader_workers=2), shards, tmp_path, quiet=True)
    assert curve(tmp_path) == curve(whole_run)
    assert weights(tmp_path) == weights(whole_run)


def test_a_folder_of_another_run_is_refused(whole_run: Path, config: TrainConfig, shards: list[str]) -> None:
    with pytest.raises(UsageError, match=r"config seed; .* folder"):
        train(replace(config, seed=8), shards, whole_run)
    with pytest.raises(UsageError, match="differs in shards"):
        train(config, shards[:-1], whole_run)


def test_a_run_whose_gradients_are_not_finite_stops_with_the_stage_and_the_step(
    config: TrainConfig, shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi2_model.encoders import Encoders

    right = Encoders.encode_text

    def poisoned(self: Encoders, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return right(self, ids, mask) * float("nan")

    monkeypatch.setattr(Encoders, "encode_text", poisoned)
    with pytest.raises(TrainingDiverged, match=r"stage align: 3 steps in a row .* step 3 .* lower align\.lr"):
        train(replace(config, max_bad_steps=3), shards, tmp_path, quiet=True)


def test_one_bad_step_is_skipped_and_training_goes_on(
    config: TrainConfig, shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi2_model.encoders import Encoders

    right, calls = Encoders.encode_text, iter(range(1000))

    def sometimes(self: Encoders, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return right(self, ids, mask) * (float("nan") if next(calls) == 0 else 1.0)

    monkeypatch.setattr(Encoders, "encode_text", sometimes)
    none = {name: replace(config.stage(name), steps=0) for name in ("decoders", "mllm")}
    train(replace(config, **none), shards, tmp_path, quiet=True)
    model = CoDi2ForConditionalGeneration.from_pretrained(tmp_path / "final")
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_tasks_without_samples_are_left_out_and_named(
    config: TrainConfig, shards: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [path for path in shards if "audio" not in path]
    none = {name: replace(config.stage(name), steps=0) for name in ("decoders", "mllm")}
    train(replace(config, **none), pictures, tmp_path)
    assert "align: skipped tasks without train samples: text_to_audio" in capsys.readouterr().err
    assert all("audio" not in row for row in curve(tmp_path))


def test_the_command_line_stops_after_its_minutes_and_says_so(
    config: TrainConfig, shards: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.to_dict()))
    assert main([str(file), "--shards", *shards, "--out", str(tmp_path / "run"), "--minutes", "0"]) == 3
    assert "time limit reached at align 1/4" in capsys.readouterr().err


def test_the_command_line_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--shards", str(tmp_path / "no.tar"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'no.tar'}: no shard matches\n"


def test_training_imports_neither_ray_nor_prefect_nor_the_catalog() -> None:
    reader, writer = CONTEXT.Pipe(duplex=False)
    start(tell_modules, writer)
    modules = reader.recv()
    assert set(OURS) <= modules
    assert modules.isdisjoint({"ray", "prefect", "duckdb", "pyarrow", "fsspec.implementations.s3"})
