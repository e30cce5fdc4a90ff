"""What each stage reads out of the shards: captioned media, media to draw, whole conversations.

Each source has `sizes` (task -> number of items) and `load(draws)` that makes a CPU batch; loading the same draws gives
the same batch, whichever thread does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from codi2_datasets.sample import Part, Sample
from PIL import Image

from codi2_model.config import MODALITIES
from codi2_model.training.mixture import Draw
from codi2_model.training.shards import MediaCache, Record, ShardSet


@dataclass(frozen=True, slots=True)
class Place:
    """A medium in a shard."""

    record: Record
    part: Part


@dataclass(slots=True)
class Captioned:
    place: Place
    captions: list[str]


def media_parts(sample: Sample) -> list[Part]:
    return [part for part in sample.parts() if part.type in MODALITIES]


def caption_of(sample: Sample) -> str:
    """The words that go with a sample's one medium: what the other side of the conversation said."""
    spoken = {role: " ".join(p.text for p in _content(sample, role) if p.text) for role in ("user", "assistant")}
    drawn = any(part.type != "text" for part in _content(sample, "assistant"))
    return (spoken["user"] if drawn else spoken["assistant"]).strip()


def _content(sample: Sample, role: str) -> list[Part]:
    return [part for message in sample.messages if message.role == role for part in message.content]


class CaptionedMedia:
    """(medium, caption) pairs of tasks whose samples hold one medium; every medium once, with all its captions."""

    def __init__(self, shards: ShardSet, cache: MediaCache, processor: Any, tasks: Iterable[str], split: str, seed: int) -> None:
        self.cache, self.processor, self.seed = cache, processor, seed
        self.items: dict[str, list[Captioned]] = {}
        for task in sorted(tasks):
            by_asset: dict[str, Captioned] = {}
            for record in shards.get(task, split):
                sample = shards.sample(record)
                parts, caption = media_parts(sample), caption_of(sample)
                if len(parts) == 1 and caption:
                    asset = parts[0].asset_id or f"{record.key}/{parts[0].part}"
                    by_asset.setdefault(asset, Captioned(Place(record, parts[0]), [])).captions.append(caption)
            if by_asset:
                self.items[task] = list(by_asset.values())
        self.sizes = {task: len(items) for task, items in self.items.items()}

    def load(self, draws: Sequence[Draw]) -> dict[str, dict[str, torch.Tensor]]:
        """modality -> media (N, C, H, W), ids and mask (N, L), groups (N,): equal where the captions are equal."""
        found: dict[str, list[tuple[Place, str]]] = {}
        for draw in draws:
            item = self.items[draw.task][draw.index]
            caption = item.captions[np.random.default_rng([self.seed, draw.number]).integers(len(item.captions))]
            found.setdefault(item.place.part.type, []).append((item.place, caption))
        return {modality: self.collate(modality, found[modality]) for modality in MODALITIES if modality in found}

    def collate(self, modality: str, pairs: Sequence[tuple[Place, str]]) -> dict[str, torch.Tensor]:
        captions = [caption for _, caption in pairs]
        ids, mask = self.processor.encode_captions(captions)
        first = {caption: n for n, caption in reversed(list(enumerate(captions)))}
        media = stack(self.processor, self.cache, modality, [place for place, _ in pairs])
        return {"media": media, "ids": ids, "mask": mask, "groups": torch.tensor([first[c] for c in captions])}
