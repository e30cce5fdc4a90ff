"""Optimisers of training: AdamW, or Muon for the matrices of hidden layers with AdamW for all other parameters.

Muon (Jordan et al. 2024; torch.optim.Muon) orthogonalises the momentum of a matrix and needs fewer samples than AdamW.
Its update is scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training"), so both use one learning
rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from codi2_model.training.config import StageConfig

BETAS = (0.9, 0.95)


class Optimizer(Protocol):
    """Interface that the training loop uses."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def step(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class MuonAdamW:
    """Muon and AdamW for disjoint sets of parameters, used as one optimiser."""

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        self.parts: dict[str, torch.optim.Optimizer] = {"muon": muon, "adamw": adamw}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts.values() for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts.values():
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])


def make_optimizer(modules: Iterable[nn.Module], config: StageConfig, device: torch.device) -> Optimizer:
    """The optimiser of the trainable parameters of modules, as configured in the stage."""
    modules = list(modules)
    parameters = list(dict.fromkeys(p for module in modules for p in module.parameters() if p.requires_grad))
    if config.optimizer == "adamw":
        return adamw(parameters, config, device)
    inner = hidden_matrices(modules)
    muon = torch.optim.Muon(
        [p for p in parameters if p in inner],
        lr=config.lr,
        weight_decay=config.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return MuonAdamW(muon, adamw([p for p in parameters if p not in inner], config, device))


def adamw(parameters: Sequence[nn.Parameter], config: StageConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW without weight decay on vectors (biases, norms, queries)."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, fused=device.type in ("cpu", "cuda"))


def hidden_matrices(modules: Iterable[nn.Module]) -> set[torch.Tensor]:
    """Weight matrices of linear layers, except for embeddings and `lm_head`, whose rows are independent of each other."""
    linear: set[torch.Tensor] = set()
    vocabulary: set[torch.Tensor] = set()
    for module in modules:
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Embedding) or name.endswith("lm_head"):
                vocabulary.add(layer.weight)
            elif isinstance(layer, nn.Linear):
                linear.add(layer.weight)
    return linear - vocabulary
