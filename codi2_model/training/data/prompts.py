"""Outputs of the frozen text encoder for prompts, computed once before the decoders are trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from codi2_model.training.loop import Runtime

PROMPTS_AT_ONCE = 128


class PromptFeatures:
    """Prompts' features in the encoders' space, which `align` brought close to the media's own: (N, D)."""

    def __init__(self, model: Any, processor: Any, prompts: Sequence[str], runtime: Runtime) -> None:
        self.model = model
        self.features = torch.zeros(len(prompts), model.config.feature_dim, device=runtime.device)
        with torch.no_grad(), runtime.autocast():
            for numbers, ids, mask in _batches(processor, prompts, runtime.device):
                self.features[numbers] = model.encode_text(ids, mask).float()

    def condition(self, modality: str, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers (n,) of prompts -> what the decoder is conditioned on (n, slots, decoder_dim)."""
        features = self.features[numbers][:, None].expand(-1, self.model.config.feature_tokens, -1)
        return (
            features
            if self.model.config.decoder_input == "features"
            else self.model.condition(modality, features, None)
        )


class PromptStates:
    """Prompts' token states, for the prompt reader; kept as bfloat16, about 12 kB a prompt.

    noise: standard deviation of what is added to the states at each draw.
    """

    def __init__(
        self, model: Any, processor: Any, prompts: Sequence[str], runtime: Runtime, noise: float = 0.0
    ) -> None:
        self.model, self.noise = model, noise
        pieces: list[torch.Tensor] = [torch.empty(0)] * len(prompts)
        with torch.no_grad(), runtime.autocast():
            for numbers, ids, mask in _batches(processor, prompts, runtime.device):
                states = model.text_states(ids, mask).to(torch.bfloat16)
                for number, row, length in zip(numbers, states, mask.sum(dim=1).tolist(), strict=True):
                    pieces[number] = row[:length]
        self.lengths = torch.tensor([len(piece) for piece in pieces], dtype=torch.long)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.states = torch.cat(pieces) if pieces else torch.empty(0)

    def condition(self, modality: str, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers (n,) of prompts -> what the decoder is conditioned on (n, slots, decoder_dim)."""
        lengths = self.lengths[numbers.cpu()]
        columns = torch.arange(int(lengths.max()))
        mask = columns < lengths[:, None]
        rows = (self.starts[numbers.cpu()][:, None] + columns).clamp_max(len(self.states) - 1)
        states = self.states[rows].float().to(numbers.device)
        states = states + self.noise * torch.randn_like(states) if self.noise else states
        return self.model.condition(modality, None, self.model.prompt_reader(states, mask.to(numbers.device)))


def _batches(
    processor: Any, prompts: Sequence[str], device: torch.device
) -> Iterator[tuple[Sequence[int], torch.Tensor, torch.Tensor]]:
    """Numbers, ids and mask of prompts, by length: an order of their own, so that a resumed run computes the same bits."""
    order = sorted(range(len(prompts)), key=lambda number: (len(prompts[number]), prompts[number]))
    for start in range(0, len(order), PROMPTS_AT_ONCE):
        numbers = order[start : start + PROMPTS_AT_ONCE]
        ids, mask = processor.encode_captions([prompts[number] for number in numbers])
        yield numbers, ids.to(device), mask.to(device)
