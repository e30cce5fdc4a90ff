"""Preference pairs of the stage `preference`: a chosen and a rejected reply to one prompt, from an export in the format `dpo`.

Each reply is a batch of its own for the model's forward, so that its losses are those of the reply. Both replies of a pair
have the same noise seeds, of which a pair has `noises`: the losses of the reference model are known for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from codi2_datasets.exports import dpo
from codi2_datasets.exports.base import Item, Loss, Reading
from codi2_datasets.formats.sample import SPLITS, Message, Part, Sample
from codi2_model.modules.batch import CoDi2Batch
from codi2_model.processor import CoDi2Processor
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import decode
from codi2_model.training.data.sources import Conversations, PreparedProcessor, target_seeds
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

Pair = tuple[Item, Item]
"""The chosen and the rejected reply, as the last message of a conversation each."""


def read_pairs(folder: str | Path, tasks: Iterable[str]) -> dict[str, dict[str, list[Pair]]]:
    """The pairs by split and task, in the order of the export's files.

    Raises UsageError if the folder holds no export of this format or a row without a rejected reply.
    """
    store, loss, wanted = Store(folder), Loss(), set(tasks)
    if not any(name.endswith(".parquet") for name in store.list("")):
        raise UsageError(
            f"preference.pairs: {folder} holds no export; write one with `codi2 export BUILD --format dpo`"
        )
    items = list(dpo.read(store, Reading(), loss))
    if loss.lost or loss.rejects:
        raise UsageError(f"preference.pairs: {folder} holds rows that `codi2 export --format dpo` did not write")
    pairs: dict[str, dict[str, list[Pair]]] = {split: {} for split in SPLITS}
    for chosen, rejected in zip(items[::2], items[1::2], strict=True):
        if chosen.sample.task in wanted:
            pairs[chosen.sample.split].setdefault(chosen.sample.task, []).append((chosen, rejected))
    return pairs


class PreferencePairs:
    """Pairs as batches of the stage `preference`. `sizes`: number of pairs of each task."""

    def __init__(self, pairs: Mapping[str, Sequence[Pair]], processor: CoDi2Processor, seed: int, noises: int) -> None:
        self.pairs, self.seed, self.noises = dict(sorted(pairs.items())), seed, noises
        self.medium: Callable[[str, Any], torch.Tensor] = processor.medium
        self.processor = PreparedProcessor(processor.config, processor.tokenizer, processor.text_tokenizer)
        self.sizes: Mapping[str, int] = {task: len(each) for task, each in self.pairs.items()}
        self.reference: dict[str, list[list[list[list[float]]]]] = {}
        """Task -> pair -> noise -> reply (chosen, rejected) -> losses of the reference model: tokens, media."""

    def load(self, draws: Sequence[Draw]) -> list[dict[str, Any]]:
        """For each draw its two replies as batches, and the losses of the reference model (2, 2)."""
        loaded = []
        for draw in draws:
            noise = draw.number % self.noises
            reference = torch.tensor(self.reference[draw.task][draw.index][noise])
            loaded.append({"replies": self.replies(draw.task, draw.index, noise), "reference": reference})
        return loaded

    def replies(self, task: str, index: int, noise: int) -> tuple[CoDi2Batch, CoDi2Batch]:
        """The chosen and the rejected reply of a pair, with the noise seeds of number `noise`."""
        chosen, rejected = (self._batch(item, Draw(task, index, noise)) for item in self.pairs[task][index])
        return chosen, rejected

    def _batch(self, item: Item, draw: Draw) -> CoDi2Batch:
        sample = with_target_reply(item.sample)

        def value(part: Part) -> torch.Tensor:
            return self.medium(part.type, decode(part.type, item.media[part.part or ""]))

        messages = Conversations.messages(sample, value)
        batch = self.processor([messages], training=True, sample_ids=[sample.sample_id])
        batch["seeds"] = target_seeds(self.seed, [draw], [messages])
        return batch


def with_target_reply(sample: Sample) -> Sample:
    """The sample with its last message as the only target."""
    last = len(sample.messages) - 1
    messages = tuple(
        Message(message.role, tuple(replace(part, target=number == last) for part in message.content))
        for number, message in enumerate(sample.messages)
    )
    return replace(sample, messages=messages)
