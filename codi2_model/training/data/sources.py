"""Batches of the training stages: captioned media (align), decoder targets (decoders), conversations (mllm).

Each source has `sizes` (task -> number of items) and `load(draws)`, which builds a CPU batch. Equal draws give equal
batches in any thread. Noise of the losses is seeded by the draws, and losses are divided by counts over the draws, so
neither depends on how a step is split into batches.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codi2_datasets.formats.sample import Part, Sample
from codi2_model.config import MODALITIES
from codi2_model.modules.batch import CoDi2Batch
from codi2_model.modules.conversation_layout import ConversationPart, MediumPosition, prompt_text, reference_indices
from codi2_model.modules.losses import NO_LOSS
from codi2_model.processor import CoDi2Processor
from codi2_model.training.data.mixture import Draw, balanced
from codi2_model.training.data.shards import MediaCache, Record, ShardSet

DEMONSTRATION = ("demo_input", "demo_output")
"""In-context roles of the media of demonstrations."""


@dataclass(frozen=True, slots=True)
class ShardMedium:
    """A medium of a sample in a shard."""

    record: Record
    part: Part


@dataclass(slots=True)
class CaptionedMedium:
    """A medium with all its captions."""

    medium: ShardMedium
    captions: list[str]


@dataclass(frozen=True, slots=True)
class DecoderTarget:
    """A medium that a decoder is trained to generate, its references, and the numbers of its prompts."""

    medium: ShardMedium
    references: list[Part]
    prompts: list[int]


def _conversation_part(part: Part, message: int, role: str) -> ConversationPart:
    """The part as the processor represents it; its `value` is the sample's part."""
    return ConversationPart(part.type, part.text or "", part, message, role, part.icl_role or "", part.target, False)


def noise_seed(seed: int, draw: Draw, number: int = 0) -> int:
    """Seed of the noise that the losses use for target `number` of a draw."""
    return int(np.random.SeedSequence([seed, draw.number, number]).generate_state(1, np.uint64)[0] >> 1)


def media_of(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Media of a conversation as the processor takes it."""
    return [part for message in messages for part in message["content"] if part["type"] != "text"]


def target_seeds(
    seed: int, draws: Sequence[Draw], conversations: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, list[int]]:
    """modality -> noise seed of each target medium, in the order of the batch."""
    seeds: dict[str, list[int]] = {}
    for draw, messages in zip(draws, conversations, strict=True):
        for number, part in enumerate(media_of(messages)):
            if part["target"]:
                seeds.setdefault(part["type"], []).append(noise_seed(seed, draw, number))
    return seeds


def media_parts(sample: Sample) -> list[Part]:
    """Image, audio and video parts of a sample."""
    return [part for part in sample.parts() if part.type in MODALITIES]


def caption_of(sample: Sample) -> str:
    """Caption of a sample with one medium: the text of the role that does not send the medium."""
    texts = {role: " ".join(p.text for p in _content(sample, role) if p.text) for role in ("user", "assistant")}
    generated = any(part.type != "text" for part in _content(sample, "assistant"))
    return (texts["user"] if generated else texts["assistant"]).strip()


def caption_number(caption: str) -> int:
    """A 63-bit hash of a caption: media with equal captions are not negatives of each other."""
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=8).digest()) >> 1


def _content(sample: Sample, role: str) -> list[Part]:
    return [part for message in sample.messages if message.role == role for part in message.content]


class CaptionedMedia:
    """(medium, caption) pairs of the stage `align`, from samples with one medium; each medium once, with all its captions."""

    def __init__(
        self,
        shards: ShardSet,
        cache: MediaCache,
        processor: CoDi2Processor,
        tasks: Iterable[str],
        split: str,
        seed: int,
    ) -> None:
        self.cache, self.processor, self.seed = cache, processor, seed
        self.items: dict[str, list[CaptionedMedium]] = {}
        for task in sorted(tasks):
            by_asset: dict[str, CaptionedMedium] = {}
            for record in shards.get(task, split):
                sample = shards.sample(record)
                parts, caption = media_parts(sample), caption_of(sample)
                if len(parts) == 1 and caption:
                    asset = parts[0].asset_id or f"{record.key}/{parts[0].part}"
                    medium = CaptionedMedium(ShardMedium(record, parts[0]), [])
                    by_asset.setdefault(asset, medium).captions.append(caption)
            if by_asset:
                self.items[task] = list(by_asset.values())
        self.sizes: Mapping[str, int] = {task: len(items) for task, items in self.items.items()}
        present = {item.medium.part.type for items in self.items.values() for item in items}
        self.modalities: list[str] = [modality for modality in MODALITIES if modality in present]

    def load(self, draws: Sequence[Draw]) -> dict[str, dict[str, torch.Tensor]]:
        """modality -> media (N, C, H, W), ids and mask (N, L), groups (N,): equal numbers for equal captions."""
        pairs: dict[str, list[tuple[ShardMedium, str]]] = {}
        for draw in draws:
            item = self.items[draw.task][draw.index]
            caption = item.captions[np.random.default_rng([self.seed, draw.number]).integers(len(item.captions))]
            pairs.setdefault(item.medium.part.type, []).append((item.medium, caption))
        return {modality: self.collate(modality, pairs[modality]) for modality in self.modalities if modality in pairs}

    def collate(self, modality: str, pairs: Sequence[tuple[ShardMedium, str]]) -> dict[str, torch.Tensor]:
        """Stack (medium, caption) pairs of one modality."""
        captions = [caption for _, caption in pairs]
        ids, mask = self.processor.encode_captions(captions)
        media = torch.stack([self.cache.get(medium.record, medium.part) for medium, _ in pairs])
        return {"media": media, "ids": ids, "mask": mask, "groups": torch.tensor([caption_number(c) for c in captions])}


class DecoderMedia:
    """Targets of the stage `decoders`: the target media of samples, or all media of samples without target media.

    references: modality -> maximum number of references, of a model that uses them.
    from_prompts: fraction of the media with a prompt that are generated from it instead of their own features. With 1, media
    without a prompt are left out. balance: see `balanced`.
    """

    def __init__(
        self,
        shards: ShardSet,
        cache: MediaCache,
        tasks: Iterable[str],
        split: str,
        references: Mapping[str, int],
        seed: int = 0,
        from_prompts: float = 0.0,
        balance: float = 0.0,
    ) -> None:
        self.cache, self.seed, self.from_prompts = cache, seed, from_prompts
        self.references = references
        numbers: dict[str, int] = {}
        self.items: dict[str, list[DecoderTarget]] = {}
        for task in sorted(tasks):
            unique: dict[tuple[str, ...], DecoderTarget] = {}
            families: dict[tuple[str, ...], str] = {}
            for record in shards.get(task, split):
                sample = shards.sample(record)
                for part, sources, prompt in decoder_targets(sample, references):
                    if from_prompts == 1.0 and not prompt:
                        continue
                    key = tuple(asset_name(record, each) for each in (part, *sources))
                    families[key] = str(sample.meta.get("family", ""))
                    item = unique.setdefault(key, DecoderTarget(ShardMedium(record, part), sources, []))
                    if prompt and from_prompts:
                        item.prompts.append(numbers.setdefault(prompt, len(numbers)))
            if unique:
                self.items[task] = balanced(list(unique.values()), [families[key] for key in unique], balance)
        self.prompts = list(numbers)
        """All distinct prompts."""
        self.sizes: Mapping[str, int] = {task: len(items) for task, items in self.items.items()}

    def load(self, draws: Sequence[Draw]) -> dict[str, dict[str, torch.Tensor]]:
        """modality -> media (N, C, H, W), references (N, K, C, H, W), present (N, K) bool, seeds (N,), prompts (N,).

        present: which references there are. prompts: number of the prompt to generate from, -1 for the medium's own features.
        """
        rows: dict[str, list[tuple[DecoderTarget, int, int]]] = {}
        for draw in draws:
            item = self.items[draw.task][draw.index]
            row = (item, noise_seed(self.seed, draw), self._prompt(item, draw))
            rows.setdefault(item.medium.part.type, []).append(row)
        return {
            modality: self.collate(*zip(*rows[modality], strict=True)) for modality in MODALITIES if modality in rows
        }

    def _prompt(self, item: DecoderTarget, draw: Draw) -> int:
        if not item.prompts:
            return -1
        random = np.random.default_rng([self.seed, draw.number])
        return item.prompts[random.integers(len(item.prompts))] if random.random() < self.from_prompts else -1

    def counts(self, draws: Sequence[Draw]) -> dict[str, float]:
        """modality -> number of media."""
        return dict(Counter(self.items[draw.task][draw.index].medium.part.type for draw in draws))

    def collate(
        self, items: Sequence[DecoderTarget], seeds: Sequence[int], prompts: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        """Stack targets of one modality."""
        media = torch.stack([self.cache.get(item.medium.record, item.medium.part) for item in items])
        count = max(1, self.references.get(items[0].medium.part.type, 1))
        references = media.new_zeros(len(items), count, *media.shape[1:])
        present = torch.zeros(len(items), count, dtype=torch.bool)
        for row, item in enumerate(items):
            for column, part in enumerate(item.references):
                references[row, column] = self.cache.get(item.medium.record, part)
                present[row, column] = True
        numbers = {"seeds": torch.tensor(seeds), "prompts": torch.tensor(prompts)}
        return {"media": media, "references": references, "present": present, **numbers}


def asset_name(record: Record, part: Part) -> str:
    """The asset of a part, or its member of the shard if it has none."""
    return part.asset_id or f"{record.key}/{part.part}"


def decoder_targets(sample: Sample, references: Mapping[str, int]) -> Iterator[tuple[Part, list[Part], str]]:
    """(target, references, prompt) of each target medium, or of all media of a sample without targets.

    The references are those that the processor chooses. The prompt is "" unless the target follows from the prompt and the
    references alone: all media before it are references, and none is a demonstration.
    """
    parts = [_conversation_part(part, number, m.role) for number, m in enumerate(sample.messages) for part in m.content]
    media = [MediumPosition(part, position) for position, part in enumerate(parts) if part.modality in MODALITIES]
    targets = [medium for medium in media if medium.part.target]
    for medium in targets or media:
        part = medium.part
        if not targets:
            yield part.value, [], ""
            continue
        same = [other for other in media if other.part.modality == part.modality]
        chosen = reference_indices(same, medium)[: references.get(part.modality, 0)]
        before = [other.part for other in media if other.part.message < part.message]
        plain = len(before) == len(chosen) and not any(other.icl_role in DEMONSTRATION for other in before)
        yield part.value, [same[n].part.value for n in chosen], prompt_text(parts, part.message) if plain else ""


class PreparedProcessor(CoDi2Processor):
    """Processor for media that are tensors already."""

    def medium(self, modality: str, value: Any) -> torch.Tensor:
        """Return the tensor unchanged."""
        return value


class Conversations:
    """Whole conversations of the stage `mllm`, as batches for the model's forward. packed: several samples per row."""

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
        self._lengths = {task: np.full((n, 3), -1, np.int32) for task, n in self.sizes.items()}

    def load(self, draws: Sequence[Draw]) -> CoDi2Batch:
        """A batch, with `seeds` (modality -> noise seed of each target) and `assets` (modality -> asset id of each medium)."""
        samples = [self.sample(draw.task, draw.index) for draw in draws]
        names = [self.records[draw.task][draw.index].key for draw in draws]
        batch = self.processor(samples, training=True, sample_ids=names, packed=self.packed)
        batch["seeds"], batch["assets"] = target_seeds(self.seed, draws, samples), {}
        for part in (part for messages in samples for part in media_of(messages)):
            batch["assets"].setdefault(part["type"], []).append(part["asset"])
        return batch

    def length(self, draw: Draw) -> int:
        """Number of tokens of a draw."""
        return int(self._sample_lengths(draw)[0])

    def count(self, draws: Sequence[Draw]) -> tuple[int, int]:
        """(labelled tokens, target media) summed over draws."""
        totals = np.array([self._sample_lengths(draw) for draw in draws]).reshape(-1, 3).sum(axis=0, dtype=np.int64)
        return int(totals[1]), int(totals[2])

    def _sample_lengths(self, draw: Draw) -> NDArray[np.int32]:
        """(tokens, labelled tokens, target media) of a draw, computed once per sample."""
        lengths = self._lengths[draw.task]
        if lengths[draw.index, 0] < 0:
            record = self.records[draw.task][draw.index]
            layout = self.processor.layout(self.messages(self.shards.sample(record), lambda part: None), record.key)
            labelled = sum(label != NO_LOSS for label in layout.labels[1:])
            lengths[draw.index] = len(layout.ids), labelled, sum(medium.part.target for medium in layout.media)
        return lengths[draw.index]

    def sample(self, task: str, index: int) -> list[dict[str, Any]]:
        """Messages of a sample, with tensors as `value` of the media parts."""
        record = self.records[task][index]
        return self.messages(self.shards.sample(record), lambda part: self.cache.get(record, part))

    @staticmethod
    def messages(sample: Sample, value: Callable[[Part], Any]) -> list[dict[str, Any]]:
        """Messages of a sample as the processor takes them. `value`: function that returns the value of a media part."""
        messages: list[dict[str, Any]] = []
        for message in sample.messages:
            content: list[dict[str, Any]] = []
            for part in message.content:
                if part.type == "text":
                    content.append({"type": "text", "text": part.text, "target": part.target})
                else:
                    fields = {
                        "type": part.type,
                        "icl_role": part.icl_role,
                        "target": part.target,
                        "asset": part.asset_id,
                    }
                    content.append({**fields, "value": value(part)})
            messages.append({"role": message.role, "content": content})
        return messages
