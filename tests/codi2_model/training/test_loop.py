"""Parts of the training loop: learning rate, seeds, retrieval score, journal, plot."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codi2_model.training.config import TrainConfig
from codi2_model.training.loop import learning_rate, seed_step
from codi2_model.training.metrics.journal import Journal, Row, read_rows
from codi2_model.training.metrics.meter import Window
from codi2_model.training.metrics.plot import plot_losses
from codi2_model.training.metrics.retrieval import rank_first
from codi2_model.training.ray_train import follow


def test_the_learning_rate_rises_over_the_warmup_and_falls_to_its_end() -> None:
    stage = replace(TrainConfig.from_yaml("test").align, steps=110, warmup=10, lr=1.0, final_lr=0.1)
    assert [learning_rate(stage, n) for n in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert learning_rate(stage, 60) == pytest.approx(0.55)
    assert learning_rate(stage, 109) == pytest.approx(0.1, abs=0.001)
    assert learning_rate(replace(stage, schedule="constant"), 109) == 1.0


def test_a_step_has_randomness_of_its_own() -> None:
    draws = []
    for key in ((0, "align", 0, 0), (0, "align", 0, 0), (1, "align", 0, 0), (0, "mllm", 0, 0), (0, "align", 1, 0)):
        seed_step(*key)
        draws.append(torch.rand(1).item())
    seed_step(0, "align", 0, 1)
    draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]
    assert len(set(draws)) == 5


def test_a_window_gives_means_and_goes_on_from_its_state() -> None:
    device = torch.device("cpu")
    window = Window()
    window.add({"a": 1.0, "b": 5.0})
    window = Window(json.loads(json.dumps(window.state_dict())))
    window.add({"a": 2.0})
    assert window.means(["a", "b", "never"], device) == {"a": 1.5, "b": 5.0}
    assert window.means(["a"], device) == {}


def test_predictions_that_are_the_targets_are_always_nearest_and_noise_is_at_chance() -> None:
    torch.manual_seed(0)
    true = torch.randn(400, 32)
    perfect = rank_first(true + 0.1 * torch.randn(400, 32), true)
    assert (perfect.accuracy, perfect.n) == (1.0, 400)
    assert perfect.chance == pytest.approx(1 / 11)
    blind = rank_first(torch.randn(400, 32), true)
    assert abs(blind.accuracy - blind.chance) < 0.05
    constant = rank_first(torch.ones(400, 32), true.abs())  # always the same guess
    assert abs(constant.accuracy - constant.chance) < 0.05


def test_equal_targets_are_no_rivals_and_fewer_rivals_mean_a_higher_chance() -> None:
    true = torch.eye(3).repeat_interleave(4, dim=0)
    result = rank_first(true, true, others=10)
    assert (result.accuracy, result.n) == (1.0, 12)
    assert result.chance == pytest.approx(1 / 9)  # 8 of the 11 others differ
    with pytest.raises(ValueError, match="two different targets"):
        rank_first(torch.ones(3, 2), torch.ones(3, 2))


def test_rows_past_a_checkpoint_and_a_torn_line_are_dropped_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows: list[Row] = [{"stage": s, "step": n, "split": "train"} for s in ("align", "mllm") for n in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"stage": "ml')
    journal = Journal(path, quiet=True)
    journal.rewind("mllm", 1)
    assert read_rows(path) == rows[:4]
    journal.write(rows[4])
    assert read_rows(path) == rows[:5]


def test_followers_see_every_row_once(tmp_path: Path) -> None:
    seen: list[Row] = []
    done = threading.Event()
    thread = threading.Thread(target=follow, args=(tmp_path / "m.jsonl", seen.append, done, 0.01))
    thread.start()
    journal = Journal(tmp_path / "m.jsonl", quiet=True)
    rows: list[Row] = [{"stage": "align", "step": n, "split": "train"} for n in range(5)]
    for row in rows:
        journal.write(row)
    journal.rewind("align", 2)
    for row in rows[3:]:
        journal.write(row)
    done.set()
    thread.join(10)
    assert seen == rows


def test_a_plot_has_a_panel_for_every_stage_that_ran(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    journal = Journal(path, quiet=True)
    with pytest.raises(ValueError, match="no rows"):
        plot_losses(path, tmp_path / "loss.png")
    for stage in ("align", "mllm"):
        for step in (1, 2):
            journal.write({"stage": stage, "step": step, "split": "train", "tokens": 1.0 / step, "lr": 0.1})
        journal.write({"stage": stage, "step": 2, "split": "validation", "tokens": 0.7})
    plot_losses(path, tmp_path / "loss.png")
    from PIL import Image

    with Image.open(tmp_path / "loss.png") as image:
        assert image.width > 2 * image.height
