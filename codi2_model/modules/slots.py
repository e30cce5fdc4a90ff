"""Feature slots: positions of media in a batch of token sequences, and a check that slots and features match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from codi2_model.config import MODALITIES, CoDi2Config


class Reference(NamedTuple):
    """Reference media (N, ...) in [-1, 1] and present (N,) bool, or several per row: (N, K, ...) and (N, K).

    The source of an edit comes first. References with present False are ignored.
    """

    media: torch.Tensor
    present: torch.Tensor


@dataclass(frozen=True)
class MediaInputs:
    """The media of one modality in a batch; fields as in `CoDi2Batch`."""

    modality: str
    media: torch.Tensor
    sample: torch.Tensor
    position: torch.Tensor
    target: torch.Tensor
    reference: torch.Tensor


def positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Position ids that count only real tokens, for padding on either side."""
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp_min(0)


def references(group: MediaInputs) -> Reference:
    """References of a modality's targets, from the media of the batch."""
    index = group.reference[group.target]
    return Reference(group.media[index.clamp_min(0)], index >= 0)


def slot_indices(group: MediaInputs, tokens: int, shift: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns (N, slots) of the media's slots, shifted by `shift` columns."""
    steps = torch.arange(tokens, device=group.position.device)
    columns = group.position[:, None] + steps + shift
    return group.sample[:, None].expand_as(columns), columns


def gather(hidden: torch.Tensor, group: MediaInputs, tokens: int, shift: int) -> torch.Tensor:
    """Hidden states (N, slots, H) at the media's slots, shifted by `shift` columns."""
    return hidden[slot_indices(group, tokens, shift)]


def check_slots(
    config: CoDi2Config, input_ids: torch.Tensor, media: list[MediaInputs], sample_ids: list[str] | None = None
) -> None:
    """Raise ValueError, with the name of the sample, unless slots and features correspond one to one."""
    filled = torch.zeros_like(input_ids)
    length = input_ids.shape[1]
    for group in media:
        for name in ("sample", "position", "target", "reference"):
            value = getattr(group, name)
            if value is None or len(value) != len(group.media):
                size = "is missing" if value is None else f"has {len(value)} entries"
                raise ValueError(f"{group.modality}_{name} {size}, expected {len(group.media)} entries")
        rows, columns = slot_indices(group, config.feature_tokens)
        inside = (rows >= 0) & (rows < len(input_ids)) & (columns >= 1) & (columns < length)
        if not bool(inside.all()):
            number = int((~inside).any(dim=1).nonzero()[0])
            raise ValueError(
                f"{group.modality} {number}: slots outside of the batch (sample {int(group.sample[number])})"
            )
        filled.index_put_((rows, columns), torch.ones_like(columns), accumulate=True)
    slots = (input_ids == config.slot_id).to(filled.dtype)
    wrong = (slots != filled).any(dim=1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        name = sample_ids[row] if sample_ids else f"row {row}"
        raise ValueError(
            f"{name}: {int(slots[row].sum())} feature slots and {int(filled[row].sum())} features do not match by number or position"
        )


def media_of(fields: dict[str, Any]) -> list[MediaInputs]:
    """Media of a `CoDi2Batch` by modality, without modalities that the batch lacks."""
    groups = []
    for modality in MODALITIES:
        media = fields.get(f"{modality}s")
        if media is not None and len(media):
            rest = [fields.get(f"{modality}_{name}") for name in ("sample", "position", "target", "reference")]
            groups.append(MediaInputs(modality, media, *rest))  # type: ignore[arg-type]
    return groups
