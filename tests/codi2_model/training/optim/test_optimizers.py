"""Optimisers: weight decay, the matrices of Muon, resumed states."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import yaml
from torch import nn

from codi2_model.training.config import PRESETS, ConfigError, StageConfig, TrainConfig
from codi2_model.training.optim.optimizers import MuonAdamW, hidden_matrices, make_optimizer

CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.inner = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 7, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.lm_head(self.inner(self.embed(ids)))


def stage(optimizer: str) -> StageConfig:
    return replace(TrainConfig.from_yaml("test").mllm, weight_decay=0.3, lr=0.01, optimizer=optimizer)  # type: ignore[arg-type]


def train(model: Small, optimizer: MuonAdamW, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.arange(7)).square().mean().backward()
        optimizer.step()


def test_only_matrices_are_decayed() -> None:
    groups = make_optimizer([nn.Linear(2, 3)], stage("adamw"), CPU).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.3), (1, 0.0)]


def test_muon_has_the_matrices_of_hidden_layers_and_adamw_the_rest() -> None:
    model = Small()
    assert hidden_matrices([model]) == {model.inner.weight}
    pair = make_optimizer([model], stage("muon"), CPU)
    assert isinstance(pair, MuonAdamW)
    assigned = {name: [p for g in part.param_groups for p in g["params"]] for name, part in pair.parts.items()}
    assert [id(p) for p in assigned["muon"]] == [id(model.inner.weight)]
    assert {id(p) for p in assigned["adamw"]} == {id(model.embed.weight), id(model.inner.bias)}


def test_muon_turns_a_gradient_into_a_matrix_of_even_singular_values() -> None:
    model = Small()
    before = model.inner.weight.detach().clone()
    chosen = replace(stage("muon"), weight_decay=0.0)
    pair = make_optimizer([model], chosen, CPU)
    assert isinstance(pair, MuonAdamW)
    train(model, pair, 1)
    sizes = torch.linalg.svdvals(before - model.inner.weight.detach()) / (0.01 * 0.2 * 4**0.5)
    assert (sizes > 0.3).all() and (sizes < 1.5).all()


def test_a_resumed_pair_goes_on_as_if_it_had_not_stopped() -> None:
    torch.manual_seed(0)
    one, two = Small(), Small()
    two.load_state_dict(one.state_dict())
    pair, again = (make_optimizer([model], stage("muon"), CPU) for model in (one, two))
    assert isinstance(pair, MuonAdamW) and isinstance(again, MuonAdamW)
    train(one, pair, 3)
    two.load_state_dict(one.state_dict())
    again.load_state_dict(deepcopy(pair.state_dict()))
    train(one, pair, 2)
    train(two, again, 2)
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_muon_of_shares_of_a_matrix_is_refused() -> None:
    data = yaml.safe_load((PRESETS / "test.yaml").read_text())
    data["parallel"] = "fsdp"
    data["mllm"]["optimizer"] = "muon"
    with pytest.raises(ConfigError, match=r"mllm\.optimizer cannot be muon with parallel: fsdp"):
        TrainConfig.from_dict(data, "here")
