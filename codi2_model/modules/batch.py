"""`CoDi2Batch`: the tensors of a batch of conversations."""

from __future__ import annotations

from typing import Any

import torch


class CoDi2Batch(dict[str, Any]):
    """Keyword arguments of the model's forward.

    - input_ids, attention_mask, labels (B, T); position_ids (B, T) of packed rows
    - per modality m: `{m}s` (Nm, *shape) in [-1, 1]; `{m}_sample` (row) and `{m}_position` (first slot), (Nm,) int64;
      `{m}_reference` (Nm, references) int64, rows of `{m}s`, -1 for none; `{m}_target` (Nm,) bool
    - text_ids, text_mask (P, L): word pieces for the text encoder; text_index (B, T): which of their P * L states belongs
      to a token, counted from 1, 0 for none
    - `{m}_prompt` (Nm,) int64, of models with a prompt reader: the row of text_ids with the prompt of a target medium, -1 for
      none; `reply_prompt` (B,): that of the reply
    - sample_ids: list of B names; for a packed row the names of all its samples
    """

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CoDi2Batch:
        """A copy with all tensors on the device."""
        moved = {
            k: v.to(device, non_blocking=non_blocking) if isinstance(v, torch.Tensor) else v for k, v in self.items()
        }
        return CoDi2Batch(moved)

    def pin_memory(self) -> CoDi2Batch:
        """A copy with all tensors in pinned memory."""
        return CoDi2Batch({k: v.pin_memory() if isinstance(v, torch.Tensor) else v for k, v in self.items()})
