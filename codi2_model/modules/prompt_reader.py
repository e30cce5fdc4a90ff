"""Prompt reader: resamples the text encoder's token states of a prompt into slot states for a decoder.

The decoders are first trained on its output alone, at a tenth of the cost of the language model. In the stage `mllm` the language
model's states are added to it, from a projection that starts at zero: they bring what the prompt does not say, such as the
demonstrations before it. It is a Perceiver resampler, as in Flamingo (Alayrac et al. 2022) and IP-Adapter Plus.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from codi2_model.modules.attention import attend

HEAD_WIDTH = 64


class PromptReader(nn.Module):
    """Token states (N, L, inputs) and their mask (N, L) -> slot states (N, slots, width)."""

    def __init__(self, inputs: int, width: int, slots: int, layers: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(slots, width) * 0.02)
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ReaderBlock(width) for _ in range(layers))
        self.from_llm = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.from_llm.weight)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        tokens, slots = self.enter(states), self.slots.expand(len(states), -1, -1)
        seen = torch.cat(
            [torch.ones(len(mask), slots.shape[1], dtype=torch.bool, device=mask.device), mask.bool()], dim=1
        )
        for block in self.blocks:
            slots = block(slots, tokens, seen[:, None, None])
        return slots

    def read(self, states: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Slot states (N, slots, width) of the prompts in rows (N,) of states and mask, zeros where the row is -1."""
        known = rows >= 0
        slots = states.new_zeros(len(rows), *self.slots.shape)
        if bool(known.any()):
            read = self(states[rows[known]], mask[rows[known]])
            slots = slots.to(read.dtype).index_put((known.nonzero()[:, 0],), read)
        return slots

    def add(self, prompts: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Slot states of prompts plus the language model's states, both (N, slots, width)."""
        return prompts + self.from_llm(F.rms_norm(states, states.shape[-1:]))


class ReaderBlock(nn.Module):
    """Slots attend to each other and to the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.query, self.leave = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU("tanh"), nn.Linear(4 * width, width, bias=False)
        )

    def forward(self, slots: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        slots = slots + self.leave(self.attention(slots, tokens, mask))
        return slots + self.mlp(F.rms_norm(slots, slots.shape[-1:]))

    def attention(self, slots: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = F.rms_norm(slots, slots.shape[-1:])
        around = F.rms_norm(torch.cat([slots, tokens], dim=1), slots.shape[-1:])
        queries = self.query(own).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys, values = self.key_value(around).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return attend(queries, keys, values, mask).transpose(1, 2).flatten(2)
