"""What each stage reads out of the shards: captioned media, media to draw, whole conversations.

Each source has `sizes` (task -> number of items) and `load(draws)` that makes a CPU batch; loading the same draws gives
the same batch, whichever thread does it. What a loss draws at random comes from seeds of the draws, and what it is divided
by from a count over them, so that neither depends on how a step is cut into batches.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codi2_datasets.formats.sample import Part, Sample
from codi2_model.config import MODALITIES
from codi2_model.modules.losses import NO_LOSS
from codi2_model.processor import CoDi2Batch, CoDi2Processor, Medium, references_of
from codi2_model.processor import Part as ProcessorPart
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, Record, ShardSet


@dataclass(frozen=True, slots=True)
class Place:
    """A medium in a shard."""

    record: Record
    part: Part


@dataclass(slots=True)
class Captioned:
    place: Place
    captions: list[str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A medium for a decoder to draw, the source of the edit that makes it, if there is one, and the numbers of its captions."""

    place: Place
    reference: Part | None
    captions: list[int]


def _processor_part(part: Part, message: int, role: str) -> ProcessorPart:
    """The processor's view of a part; `value` leads back to it."""
    return ProcessorPart(part.type, "", part, message, role, part.icl_role or "", part.target, False)


def noise_seed(seed: int, draw: Draw, number: int = 0) -> int:
    """The seed of what the losses of a draw's target draw at random."""
    return int(np.random.SeedSequence([seed, draw.number, number]).generate_state(1, np.uint64)[0] >> 1)


def media_parts(sample: Sample) -> list[Part]:
    return [part for part in sample.parts() if part.type in MODALITIES]


def caption_of(sample: Sample) -> str:
    """The words that go with a sample's one medium: what the other side of the conversation said."""
    spoken = {role: " ".join(p.text for p in _content(sample, role) if p.text) for role in ("user", "assistant")}
    drawn = any(part.type != "text" for part in _content(sample, "assistant"))
    return (spoken["user"] if drawn else spoken["assistant"]).strip()


def caption_number(caption: str) -> int:
    """A 63-bit name for a caption: media with equal captions are no negatives of each other."""
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=8).digest()) >> 1


def _content(sample: Sample, role: str) -> list[Part]:
    return [part for message in sample.messages if message.role == role for part in message.content]


class CaptionedMedia:
    """(medium, caption) pairs of tasks whose samples hold one medium; every medium once, with all its captions."""

    def __init__(
        self, shards: ShardSet, cache: MediaCache, words: CoDi2Processor, tasks: Iterable[str], split: str, seed: int
    ) -> None:
        self.cache, self.words, self.seed = cache, words, seed
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
        self.sizes: Mapping[str, int] = {task: len(items) for task, items in self.items.items()}
        present = {item.place.part.type for items in self.items.values() for item in items}
        self.modalities: list[str] = [modality for modality in MODALITIES if modality in present]

    def load(self, draws: Sequence[Draw]) -> dict[str, dict[str, torch.Tensor]]:
        """modality -> media (N, C, H, W), ids and mask (N, L), groups (N,): equal where the captions are."""
        found: dict[str, list[tuple[Place, str]]] = {}
        for draw in draws:
            item = self.items[draw.task][draw.index]
            caption = item.captions[np.random.default_rng([self.seed, draw.number]).integers(len(item.captions))]
            found.setdefault(item.place.part.type, []).append((item.place, caption))
        return {modality: self.collate(modality, found[modality]) for modality in self.modalities if modality in found}

    def collate(self, modality: str, pairs: Sequence[tuple[Place, str]]) -> dict[str, torch.Tensor]:
        captions = [caption for _, caption in pairs]
        ids, mask = self.words.encode_captions(captions)
        media = torch.stack([self.cache.get(place.record, place.part) for place, _ in pairs])
        return {"media": media, "ids": ids, "mask": mask, "groups": torch.tensor([caption_number(c) for c in captions])}


class DrawnMedia:
    """Media that decoders learn to draw: the targets of samples, or of samples without any, all media that they hold.

    from_captions: the share of the media described by a caption that are drawn from it instead of from their own features.
    """

    def __init__(
        self,
        shards: ShardSet,
        cache: MediaCache,
        tasks: Iterable[str],
        split: str,
        use_reference: bool,
        seed: int = 0,
        from_captions: float = 0.0,
    ) -> None:
        self.cache, self.seed, self.from_captions = cache, seed, from_captions
        numbers: dict[str, int] = {}
        self.items: dict[str, list[Drawn]] = {}
        for task in sorted(tasks):
            seen: dict[tuple[str, str | None], Drawn] = {}
            for record in shards.get(task, split):
                sample = shards.sample(record)
                drawn = drawn_parts(sample, use_reference)
                caption = caption_of(sample) if from_captions and len(media_parts(sample)) == 1 else ""
                for part, reference in drawn:
                    key = (part.asset_id or f"{record.key}/{part.part}", reference.asset_id if reference else None)
                    item = seen.setdefault(key, Drawn(Place(record, part), reference, []))
                    if caption:
                        item.captions.append(numbers.setdefault(caption, len(numbers)))
            if seen:
                self.items[task] = list(seen.values())
        self.captions = list(numbers)
        """All captions, each once."""
        self.sizes: Mapping[str, int] = {task: len(items) for task, items in self.items.items()}

    def load(self, draws: Sequence[Draw]) -> dict[str, dict[str, torch.Tensor]]:
        """modality -> media and references (N, C, H, W), present (N,) bool: whether there is a reference, seeds (N,), captions
        (N,): the number of the caption to draw from, -1 for the medium's own features."""
        found: dict[str, list[tuple[Drawn, int, int]]] = {}
        for draw in draws:
            item = self.items[draw.task][draw.index]
            row = (item, noise_seed(self.seed, draw), self._caption(item, draw))
            found.setdefault(item.place.part.type, []).append(row)
        return {
            modality: self.collate(*zip(*found[modality], strict=True)) for modality in MODALITIES if modality in found
        }

    def _caption(self, item: Drawn, draw: Draw) -> int:
        if not item.captions:
            return -1
        random = np.random.default_rng([self.seed, draw.number])
        return item.captions[random.integers(len(item.captions))] if random.random() < self.from_captions else -1

    def counts(self, draws: Sequence[Draw]) -> dict[str, float]:
        """modality -> media."""
        return dict(Counter(self.items[draw.task][draw.index].place.part.type for draw in draws))

    def collate(self, items: Sequence[Drawn], seeds: Sequence[int], captions: Sequence[int]) -> dict[str, torch.Tensor]:
        media = torch.stack([self.cache.get(item.place.record, item.place.part) for item in items])
        references = [
            torch.zeros_like(media[0]) if item.reference is None else self.cache.get(item.place.record, item.reference)
            for item in items
        ]
        present = torch.tensor([item.reference is not None for item in items])
        numbers = {"seeds": torch.tensor(seeds), "captions": torch.tensor(captions)}
        return {"media": media, "references": torch.stack(references), "present": present, **numbers}


def drawn_parts(sample: Sample, use_reference: bool) -> list[tuple[Part, Part | None]]:
    """(medium, reference) of a sample; the reference is found as the processor finds it."""
    parts = [
        Medium(_processor_part(part, number, message.role), position)
        for position, (number, message, part) in enumerate(
            (number, message, part)
            for number, message in enumerate(sample.messages)
            for part in message.content
            if part.type in MODALITIES
        )
    ]
    targets = [medium for medium in parts if medium.part.target]
    drawn: list[tuple[Part, Part | None]] = []
    for medium in targets or parts:
        same = [other for other in parts if other.part.modality == medium.part.modality]
        found = references_of(same, medium) if use_reference and targets else []
        drawn.append((medium.part.value, same[found[0]].part.value if found else None))
    return drawn


class PreparedProcessor(CoDi2Processor):
    """The processor, for media that the cache already made into tensors."""

    def medium(self, modality: str, value: Any) -> torch.Tensor:
        return value


class Conversations:
    """Whole samples, as the model's forward takes them; `packed`: several to a row."""

    def __init__(
        self,
        shards: ShardSet,
        cache: MediaCache,
        processor: CoDi2Processor,
        tasks: Iterable[str],
        split: str,
        packed: bool = False,
        seed: int = 0,
    ) -> None:
        self.shards, self.cache, self.packed, self.seed = shards, cache, packed, seed
        self.processor = PreparedProcessor(processor.config, processor.tokenizer, processor.text_tokenizer)
        self.records = {task: shards.get(task, split) for task in sorted(tasks) if shards.get(task, split)}
        self.sizes: Mapping[str, int] = {task: len(records) for task, records in self.records.items()}
        self._known = {task: np.full((n, 3), -1, np.int32) for task, n in self.sizes.items()}

    def load(self, draws: Sequence[Draw]) -> CoDi2Batch:
        """The batch, with `seeds`: modality -> a seed for the noise of each of its targets, and `assets`: modality -> the asset
        of each of its media."""
        samples = [self.sample(draw.task, draw.index) for draw in draws]
        names = [self.records[draw.task][draw.index].key for draw in draws]
        batch = self.processor(samples, training=True, sample_ids=names, packed=self.packed)
        batch["seeds"], batch["assets"] = {}, {}
        for draw, messages in zip(draws, samples, strict=True):
            media = [part for message in messages for part in message["content"] if part["type"] != "text"]
            for number, part in enumerate(media):
                batch["assets"].setdefault(part["type"], []).append(part["asset"])
                if part["target"]:
                    batch["seeds"].setdefault(part["type"], []).append(noise_seed(self.seed, draw, number))
        return batch

    def length(self, draw: Draw) -> int:
        """Tokens of a draw's sample."""
        return int(self._measured(draw)[0])

    def count(self, draws: Sequence[Draw]) -> tuple[int, int]:
        """Tokens with a label, and target media, of all the draws."""
        found = np.array([self._measured(draw) for draw in draws]).reshape(-1, 3).sum(axis=0, dtype=np.int64)
        return int(found[1]), int(found[2])

    def _measured(self, draw: Draw) -> NDArray[np.int32]:
        """Of a draw's sample: tokens, tokens with a label, target media. It is laid out once."""
        known = self._known[draw.task]
        if known[draw.index, 0] < 0:
            record = self.records[draw.task][draw.index]
            layout = self.processor.layout(self.messages(self.shards.sample(record), lambda part: None), record.key)
            labelled = sum(label != NO_LOSS for label in layout.labels[1:])
            known[draw.index] = len(layout.ids), labelled, sum(medium.part.target for medium in layout.media)
        return known[draw.index]

    def sample(self, task: str, index: int) -> list[dict[str, Any]]:
        """Messages whose media parts carry their tensor as `value`."""
        record = self.records[task][index]
        return self.messages(self.shards.sample(record), lambda part: self.cache.get(record, part))

    @staticmethod
    def messages(sample: Sample, value: Callable[[Part], Any]) -> list[dict[str, Any]]:
        """A sample as the processor takes it; `value` gives what stands for a medium."""
        messages: list[dict[str, Any]] = []
        for message in sample.messages:
            content: list[dict[str, Any]] = []
            for part in message.content:
                if part.type == "text":
                    content.append({"type": "text", "text": part.text, "target": part.target})
                else:
                    about = {
                        "type": part.type,
                        "icl_role": part.icl_role,
                        "target": part.target,
                        "asset": part.asset_id,
                    }
                    content.append({**about, "value": value(part)})
            messages.append({"role": message.role, "content": content})
        return messages
