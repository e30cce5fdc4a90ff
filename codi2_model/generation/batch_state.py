"""The rows of a batch that is being written: what the language model has read of each, so that rows may join and leave.

Rows are padded at the left and masked there, and positions count real tokens alone: neither how long the others are nor
who they are changes what a row reads (up to the rounding of batched sums).
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
    """Last hidden states (B, H), the key-value cache of B rows and T tokens, and which of these are real (B, T)."""

    hidden: torch.Tensor
    cache: Any
    mask: torch.Tensor

    def logits(self, model: Any) -> torch.Tensor:
        """Of the next tokens, (B, V) on the CPU."""
        return model.llm.lm_head(self.hidden).float().cpu()

    def read(self, model: Any, embeddings: torch.Tensor, alive: Sequence[bool]) -> Rows:
        """One token (B, H) further, the cache in place; what rows that are not alive read is masked."""
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

    def keep(self, places: Sequence[int]) -> Rows:
        """The rows at these places alone, in a cache of their own, without the columns that only the others filled."""
        index = torch.tensor(places, device=self.mask.device)
        mask = self.mask[index]
        start = int(mask.any(dim=0).long().argmax())  # the first column that any of them fills
        cache = changed([self.cache], lambda layers: layers[0][index][:, :, start:])
        return Rows(self.hidden[index], cache, mask[:, start:])

    def join(self, other: Rows) -> Rows:
        """These rows and then the other's, in a cache of their own."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        cache = changed(
            [self.cache, other.cache],
            lambda layers: torch.cat([F.pad(one, (0, 0, length - one.shape[2], 0)) for one in layers]),
        )
        mask = torch.cat([F.pad(one.mask, (length - one.mask.shape[1], 0)) for one in (self, other)])
        return Rows(torch.cat([self.hidden, other.hidden]), cache, mask)


def changed(caches: Sequence[Any], change: Callable[[list[torch.Tensor]], torch.Tensor]) -> DynamicCache:
    """A new cache whose keys and values (B, heads, T, D) are made, layer by layer, of those of given caches."""
    layers = zip(*(cache.layers for cache in caches), strict=True)
    return DynamicCache(
        [(change([one.keys for one in layer]), change([one.values for one in layer])) for layer in layers]
    )
