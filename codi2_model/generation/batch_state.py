"""Decoding state of a batch: hidden states and key-value cache of its rows, which can join and leave.

Rows are padded on the left with a mask, and positions count only real tokens. The other rows of a batch do not change the
result of a row (up to the rounding of batched sums).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import DynamicCache

from codi2_model.modules.slots import positions


@dataclass(frozen=True)
class Rows:
    """State of B rows: last hidden states (B, H), key-value cache of T tokens, and mask (B, T) of real tokens."""

    hidden: torch.Tensor
    cache: Any
    mask: torch.Tensor

    def logits(self, model: Any) -> torch.Tensor:
        """Logits (B, V) of the next tokens, on the CPU."""
        return model.llm.lm_head(self.hidden).float().cpu()

    def read(self, model: Any, embeddings: torch.Tensor, alive: Sequence[bool]) -> Rows:
        """Process one token (B, H) per row, updating the cache in place; tokens of rows that are not alive are masked."""
        real = torch.tensor(alive, dtype=self.mask.dtype, device=self.mask.device)
        mask = torch.cat([self.mask, real[:, None]], dim=1)
        states = model.llm.model(
            inputs_embeds=embeddings[:, None],
            attention_mask=mask,
            position_ids=positions(mask)[:, -1:],
            past_key_values=self.cache,
            use_cache=True,
        )
        return Rows(states.last_hidden_state[:, -1], states.past_key_values, mask)

    def keep(self, indices: Sequence[int]) -> Rows:
        """The rows at `indices` in a new cache, without columns that only other rows use."""
        index = torch.tensor(indices, device=self.mask.device)
        mask = self.mask[index]
        start = int(mask.any(dim=0).long().argmax())  # first column with a real token
        cache = map_cache([self.cache], lambda layers: layers[0][index][:, :, start:])
        return Rows(self.hidden[index], cache, mask[:, start:])

    def join(self, other: Rows) -> Rows:
        """These rows followed by those of `other`, in a new cache."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        cache = map_cache(
            [self.cache, other.cache],
            lambda layers: torch.cat([F.pad(layer, (0, 0, length - layer.shape[2], 0)) for layer in layers]),
        )
        mask = torch.cat([F.pad(rows.mask, (length - rows.mask.shape[1], 0)) for rows in (self, other)])
        return Rows(torch.cat([self.hidden, other.hidden]), cache, mask)


def map_cache(caches: Sequence[Any], function: Callable[[list[torch.Tensor]], torch.Tensor]) -> DynamicCache:
    """A new cache: applies a function to the keys and values (B, heads, T, D) of caches, layer by layer."""
    groups = zip(*(cache.layers for cache in caches), strict=True)
    return DynamicCache(
        [(function([layer.keys for layer in group]), function([layer.values for layer in group])) for group in groups]
    )
