"""Moving averages, spike guard, learning rate schedules, TensorBoard output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.loop import learning_rate
from codi2_model.training.optim.ema import Ema
from codi2_model.training.optim.spike_guard import MIN_NORMS, SpikeGuard
from codi2_model.training.run import train

from .conftest import curve, weights


def test_the_average_follows_its_recurrence_and_goes_on_from_its_state() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    ema, expected = Ema([parameter], 0.9), np.zeros(3)
    for step in range(40):
        with torch.no_grad():
            parameter += torch.tensor([1.0, -0.5, 0.1])
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach().numpy()
        ema.update()
        if step == 20:
            again = Ema([parameter], 0.9)
            again.load_state_dict(ema.state_dict())
            ema = again
    np.testing.assert_allclose(ema.averages[0].numpy(), expected, rtol=1e-4)
    kept = parameter.detach().clone()
    with ema.applied():
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-4)
    assert torch.equal(parameter, kept)
    with pytest.raises(ValueError, match="has 1 parameters, the stage trains 2"):
        Ema([parameter, parameter], 0.9).load_state_dict(ema.state_dict())


def test_a_spike_is_called_one_only_when_it_is_known_what_is_usual() -> None:
    guard = SpikeGuard(5.0)
    assert all(guard.fault(1.0 + n / 10) == "" for n in range(MIN_NORMS))
    assert "6.7 times" in guard.fault(9.0)
    assert guard.fault(float("nan")) == "gradient norm nan"
    assert guard.fault(3.0) == ""
    assert SpikeGuard(5.0, guard.norms).fault(50.0)
    assert SpikeGuard(0.0, guard.norms).fault(50.0) == "" and SpikeGuard(5.0).fault(1e9) == ""


def test_schedules_end_where_they_say() -> None:
    stage = replace(TrainConfig.from_yaml("test").align, steps=100, warmup=0, lr=1.0, final_lr=0.1, decay=0.2)
    linear, wsd = replace(stage, schedule="linear"), replace(stage, schedule="wsd")
    assert [round(learning_rate(linear, n), 3) for n in (0, 50, 99)] == [1.0, 0.55, 0.109]
    assert [round(learning_rate(wsd, n), 3) for n in (0, 79, 80, 90, 99)] == [1.0, 1.0, 1.0, 0.55, 0.145]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ema": 1.0}, r"align\.ema must lie in \[0, 1\)"),
        ({"spike_factor": 0.5}, r"align\.spike_factor must be above 1, or 0"),
        (
            {"schedule": "steps"},
            r"align\.schedule: expected 'cosine', 'constant', 'linear' or 'wsd', found str 'steps'",
        ),
    ],
)
def test_settings_that_make_no_sense_are_named(change: dict[str, object], message: str) -> None:
    data = TrainConfig.from_yaml("test").to_dict()
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict({**data, "align": {**data["align"], **change}})


class Interrupted(Exception):
    pass


def test_a_run_with_an_average_and_a_guard_goes_on_to_the_bit(
    config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    extra = {"ema": 0.8, "spike_factor": 50.0}
    with_average = replace(
        config,
        align=replace(config.align, **extra, steps=4, checkpoint_every=3),
        decoders=replace(config.decoders, steps=0),
        mllm=replace(config.mllm, **extra),
    )
    train(with_average, shards, tmp_path / "whole", quiet=True)

    def stop(row: dict[str, object]) -> None:
        if (row["stage"], row["step"]) == ("mllm", 3):
            raise Interrupted

    with pytest.raises(Interrupted):
        train(with_average, shards, tmp_path / "cut", on_metrics=stop, quiet=True)
    folder = tmp_path / "cut" / "checkpoints" / "3-mllm-0000002"
    assert (folder / "trainer" / "ema.safetensors").exists()
    train(with_average, shards, tmp_path / "cut", quiet=True)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_tensorboard_reads_what_a_run_wrote(whole_run: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-not-found]
    from tensorboardX.record_writer import open_file  # type: ignore[import-not-found]

    assert open_file
    result = set()
    for path in (whole_run / "tensorboard").glob("events.*"):
        data, place = path.read_bytes(), 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 8], "little")
            event = Event.FromString(data[place + 12 : place + 12 + size])
            result |= {(value.tag, event.step) for value in event.summary.value}
            place += 16 + size
    rows = curve(whole_run)
    assert ("align/train/image", 1) in result and ("mllm/validation/text_to_image_retrieval", 4) in result
    assert {step for tag, step in result if tag == "mllm/train/loss"} == {
        row["step"] for row in rows if row["stage"] == "mllm" and row["split"] == "train"
    }
