"""Caption reader: resamples the text encoder's token states of a caption into slot states for a decoder.

The decoders are first trained on its output, at a tenth of the cost of the language model. In the stage `mllm` the language
model's states are trained to match it (`states_loss`); afterwards it is not needed. It is a Perceiver resampler, as in Flamingo
(Alayrac et al. 2022) and IP-Adapter Plus.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from codi2_model.modules.attention import attend
from codi2_model.modules.losses import cosine_loss

HEAD_WIDTH = 64


class CaptionReader(nn.Module):
    """Token states (N, L, inputs) and their mask (N, L) -> slot states (N, slots, width)."""

    def __init__(self, inputs: int, width: int, slots: int, layers: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(slots, width) * 0.02)
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ReaderBlock(width) for _ in range(layers))

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        tokens, slots = self.enter(states), self.slots.expand(len(states), -1, -1)
        seen = torch.cat(
            [torch.ones(len(mask), slots.shape[1], dtype=torch.bool, device=mask.device), mask.bool()], dim=1
        )
        for block in self.blocks:
            slots = block(slots, tokens, seen[:, None, None])
        return slots


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


def states_loss(
    reader: CaptionReader,
    states: Mapping[str, torch.Tensor],
    captions: Mapping[str, torch.Tensor],
    texts: torch.Tensor,
    mask: torch.Tensor,
    count: float,
) -> dict[str, torch.Tensor]:
    """1 - cosine between the language model's states before media and the reader's states of their captions, as `states`.

    states: modality -> (Nm, slots, H). captions: modality -> (Nm,) rows of `texts` (P, L, width) and `mask` (P, L), -1 for media
    without a caption. count: the number of media that the sum is divided by. Empty where no medium has a caption.
    """
    losses = []
    for modality, rows in captions.items():
        captioned = rows >= 0
        if bool(captioned.any()):
            with torch.no_grad():
                target = reader(texts[rows[captioned]], mask[rows[captioned]])
            losses.append(cosine_loss(states[modality][captioned], target, count))
    return {"states": torch.stack(losses).sum()} if losses else {}
