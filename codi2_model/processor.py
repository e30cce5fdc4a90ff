"""`CoDi2Processor`: conversations -> tensors. One path for training and inference.

- a conversation is laid out by the tokenizer's own chat template; text parts never pass through the template and are
  encoded without special tokens, so no user can write a control token;
- a medium is its begin token, `feature_tokens` slots and its end token;
- loss marks are per part: text of target parts, begin tokens of target media that the assistant sends, and its end of turn;
- lengths are counted before they overflow; every error names the sample.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from codi2_model.config import MODALITIES, CoDi2Config
from codi2_model.losses import NO_LOSS
from codi2_model.media import audio_tensor, image_tensor, video_tensor
from codi2_model.packing import pack
from codi2_model.tokens import build_tokenizer
from codi2_storage.files import write_whole

Messages = Sequence[dict[str, Any]]
ROLES = ("system", "user", "assistant")
PROCESSOR_NAME = "processor_config.json"
_MARK = re.compile("\ue000([0-9]+)\ue001")


class ConversationError(ValueError):
    """A conversation cannot be turned into tensors; the message names the sample."""


@dataclass(frozen=True)
class Part:
    """A part of a conversation, with what its message says about it."""

    modality: str
    text: str
    value: Any
    message: int
    role: str
    icl_role: str
    target: bool
    last: bool
    """Whether its message ends with it."""


@dataclass(frozen=True)
class Medium:
    """Where a medium stands in the token sequence: `position` is its first slot."""

    part: Part
    position: int


@dataclass(frozen=True)
class Layout:
    """A conversation as tokens; labels are NO_LOSS where the token loss does not fall."""

    ids: list[int]
    labels: list[int]
    media: list[Medium]


@dataclass(frozen=True)
class Place:
    """Where a conversation stands in a batch: its row, and the column of its first token."""

    row: int
    start: int


class CoDi2Batch(dict[str, Any]):
    """Keyword arguments of the model's forward.

    input_ids, attention_mask, labels (B, T), and of packed rows position_ids; per modality m: `{m}s` (Nm, *shape) in
    [-1, 1], `{m}_sample` (row),
    `{m}_position` (first slot) and `{m}_reference` (row of `{m}s`, -1 for none), all (Nm,) int64, `{m}_target` (Nm,) bool;
    sample_ids: list of B names, of a packed row all that stand in it.
    """

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CoDi2Batch:
        """A copy with its tensors on the device."""
        moved = {
            k: v.to(device, non_blocking=non_blocking) if isinstance(v, torch.Tensor) else v for k, v in self.items()
        }
        return CoDi2Batch(moved)

    def pin_memory(self) -> CoDi2Batch:
        return CoDi2Batch({k: v.pin_memory() if isinstance(v, torch.Tensor) else v for k, v in self.items()})


class CoDi2Processor:
    """Tokenizer, media front ends and layout of conversations."""

    def __init__(self, config: CoDi2Config, tokenizer: PreTrainedTokenizerFast) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._template_ids = lru_cache(maxsize=4096)(self._encode_template)

    @classmethod
    def build(cls, config: CoDi2Config, texts: Iterable[str] | None = None) -> CoDi2Processor:
        """A processor with the tokenizer of config.llm_source, or with one trained on `texts`."""
        return cls(config, build_tokenizer(config, texts))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer's files and processor_config.json."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(str(target))
        content = {"processor_class": type(self).__name__, "config": self.config.to_dict()}
        write_whole(target / PROCESSOR_NAME, json.dumps(content, indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> CoDi2Processor:
        """Read what `save_pretrained` wrote. Raises FileNotFoundError where it is not there."""
        path = Path(folder) / PROCESSOR_NAME
        if not path.is_file():
            raise FileNotFoundError(f"no processor in {folder}: {PROCESSOR_NAME} is missing")
        config = CoDi2Config.from_dict(json.loads(path.read_text(encoding="utf-8"))["config"])
        return cls(config, PreTrainedTokenizerFast.from_pretrained(str(folder)))

    def image(self, value: Any) -> torch.Tensor:
        """A picture -> (3, S, S) in [-1, 1]."""
        return image_tensor(value, self.config.image_size)

    def audio(self, value: Any) -> torch.Tensor:
        """A mono float waveform at 16 kHz, of any length -> (1, mels, frames), or (1, samples), in [-1, 1]."""
        return audio_tensor(value, self.config.audio)

    def video(self, value: Any) -> torch.Tensor:
        """Frames (T, height, width, 3) of uint8 at 8 a second -> (3, frames, size, size) in [-1, 1]."""
        return video_tensor(value, self.config.video)

    def medium(self, modality: str, value: Any) -> torch.Tensor:
        """`image`, `audio` or `video`, by name."""
        if modality not in self.config.modalities:
            raise ValueError(f"no modality '{modality}': this model has {', '.join(self.config.modalities)}")
        return {"image": self.image, "audio": self.audio, "video": self.video}[modality](value)

    def encode_captions(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Captions -> ids and mask (N, L) for the text encoder; cut at config.text_max_length. An empty one is an error."""
        rows = [self.encode_text(caption)[: self.config.text_max_length] for caption in captions]
        for number, row in enumerate(rows):
            if not row:
                raise ValueError(f"caption {number} is empty")
        length = max(map(len, rows), default=0)
        ids = torch.full((len(rows), length), self.config.pad_token_id)
        mask = torch.zeros(len(rows), length, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        return ids, mask

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text: names of special tokens in it are mere letters."""
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _encode_template(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def layout(self, messages: Messages, name: str = "conversation", prompt: bool = False) -> Layout:
        """The token sequence of a conversation, media not looked at; with `prompt` it ends where a reply begins.

        Raises ConversationError where it is malformed or longer than config.max_length.
        """
        parts = conversation_parts(messages, name)
        marked = [{"role": m["role"], "content": ""} for m in messages]
        for number, part in enumerate(parts):
            marked[part.message]["content"] += f"\ue000{number}\ue001"
        text = self.tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=prompt)
        pieces = _MARK.split(str(text))  # template, part, template, part, …, template
        config = self.config
        ids = list(self._template_ids(pieces[0]))
        labels = [NO_LOSS] * len(ids)
        media: list[Medium] = []
        for number, following in zip(map(int, pieces[1::2]), pieces[2::2], strict=True):
            part = parts[number]
            if part.modality == "text":
                new = self.encode_text(part.text)
                marks = [part.target] * len(new)
            else:
                media.append(Medium(part, len(ids) + 1))
                new = [
                    config.begin_id(part.modality),
                    *[config.slot_id] * config.feature_tokens,
                    config.end_id(part.modality),
                ]
                marks = [part.target and part.role == "assistant", *[False] * (config.feature_tokens + 1)]
            template = self._template_ids(following)
            new += template
            # the end of the turn is the assistant's own word too, with the blank that some templates put before it
            closes = part.target and part.role == "assistant" and part.last and config.eos_token_id in template
            end = template.index(config.eos_token_id) if closes else -1
            marks += [n <= end for n in range(len(template))]
            ids += new
            labels += [token if mark else NO_LOSS for token, mark in zip(new, marks, strict=True)]
        if len(ids) > config.max_length:
            raise ConversationError(
                f"{name}: {len(ids)} tokens, at most {config.max_length} fit the model (max_length)"
            )
        return Layout(ids, labels, media)

    def count(self, messages: Messages, name: str = "conversation") -> int:
        """Tokens of a conversation, feature slots included; needs no media. Raises ConversationError as `layout` does."""
        return len(self.layout(messages, name).ids)

    def __call__(
        self,
        conversations: Sequence[Messages],
        training: bool = False,
        sample_ids: Sequence[str] | None = None,
        packed: bool = False,
    ) -> CoDi2Batch:
        """A batch of conversations, any modalities mixed. Media parts carry their `value`.

        training: padded on the right, with labels; else padded on the left and, where the last turn is not the
        assistant's, ended by the begin of its reply; then `{m}_reply_reference` (B,) says which medium is the reference of
        a medium in the reply. packed (training alone): several conversations a row, told apart by `position_ids`. Raises
        ConversationError, which names the sample by `sample_ids` or its number.
        """
        if sample_ids is not None and len(sample_ids) != len(conversations):
            raise ValueError(f"{len(sample_ids)} sample_ids for {len(conversations)} conversations")
        if not conversations:
            raise ValueError("no conversations")
        if packed and not training:
            raise ValueError("only batches for training can be packed")
        names = (
            [f"sample {i}" for i in sample_ids]
            if sample_ids
            else [f"conversation {n}" for n in range(len(conversations))]
        )
        layouts = []
        for name, messages in zip(names, conversations, strict=True):
            reply = not training and bool(messages) and messages[-1].get("role") != "assistant"
            layouts.append(self.layout(messages, name, prompt=reply))
        places = packed_places(layouts, self.config.max_length) if packed else row_places(layouts, left=not training)
        batch = self._tokens(layouts, places, training, packed)
        for modality in self.config.modalities:
            batch.update(self._media(modality, layouts, names, places, replies=not training))
        rows = len(batch["input_ids"])
        batch["sample_ids"] = [
            ", ".join(name for name, place in zip(names, places, strict=True) if place.row == row)
            for row in range(rows)
        ]
        return batch

    def _tokens(self, layouts: Sequence[Layout], places: Sequence[Place], training: bool, packed: bool) -> CoDi2Batch:
        rows = 1 + max(place.row for place in places)
        length = max(place.start + len(x.ids) for x, place in zip(layouts, places, strict=True))
        ids = torch.full((rows, length), self.config.pad_token_id)
        mask = torch.zeros(rows, length, dtype=torch.long)
        labels = torch.full((rows, length), NO_LOSS)
        order = torch.arange(length).repeat(rows, 1)  # what follows the last sample of a packed row counts on its own
        for layout, place in zip(layouts, places, strict=True):
            where = slice(place.start, place.start + len(layout.ids))
            ids[place.row, where] = torch.tensor(layout.ids)
            labels[place.row, where] = torch.tensor(layout.labels)
            mask[place.row, where] = 1
            order[place.row, place.start :] = torch.arange(length - place.start)
            order[place.row, where.stop :] = torch.arange(length - where.stop)
        batch = CoDi2Batch(input_ids=ids, attention_mask=mask)
        if training:
            batch["labels"] = labels
        if packed:
            batch["position_ids"] = order
        return batch

    def _media(
        self, modality: str, layouts: Sequence[Layout], names: Sequence[str], places: Sequence[Place], replies: bool
    ) -> dict[str, torch.Tensor]:
        tensors: list[torch.Tensor] = []
        sample, position, target, reference, reply = [], [], [], [], []
        for layout, name, place in zip(layouts, names, places, strict=True):
            media = [medium for medium in layout.media if medium.part.modality == modality]
            start = len(tensors)
            for medium in media:
                if medium.part.value is None:
                    raise ConversationError(f"{name}: a part of type {modality} has no value")
                try:
                    tensors.append(self.medium(modality, medium.part.value))
                except ValueError as error:
                    raise ConversationError(f"{name}: {error}") from None
                sample.append(place.row)
                position.append(medium.position + place.start)
                target.append(medium.part.target)
                found = reference_of(media, medium) if self.config.use_reference else None
                reference.append(-1 if found is None else start + found)
            found = reference_of(media, None) if self.config.use_reference else None
            reply.append(-1 if found is None else start + found)
        shape = self.config.media_shape(modality)
        fields = {
            f"{modality}s": torch.stack(tensors) if tensors else torch.zeros(0, *shape),
            f"{modality}_sample": torch.tensor(sample, dtype=torch.long),
            f"{modality}_position": torch.tensor(position, dtype=torch.long),
            f"{modality}_target": torch.tensor(target, dtype=torch.bool),
            f"{modality}_reference": torch.tensor(reference, dtype=torch.long),
        }
        if replies:
            fields[f"{modality}_reply_reference"] = torch.tensor(reply, dtype=torch.long)
        return fields


def row_places(layouts: Sequence[Layout], left: bool) -> list[Place]:
    """A row for each conversation, padded on the left or on the right."""
    length = max(len(x.ids) for x in layouts)
    return [Place(row, length - len(x.ids) if left else 0) for row, x in enumerate(layouts)]


def packed_places(layouts: Sequence[Layout], limit: int) -> list[Place]:
    """Several conversations a row, one behind the other."""
    places: dict[int, Place] = {}
    for row, numbers in enumerate(pack([len(x.ids) for x in layouts], limit)):
        start = 0
        for number in numbers:
            places[number] = Place(row, start)
            start += len(layouts[number].ids)
    return [places[number] for number in range(len(layouts))]


def conversation_parts(messages: Messages, name: str) -> list[Part]:
    """The parts of a conversation in order; a message without content counts as one empty text.

    `content` is a string or a list of parts; a part is a target where it says so, and in the assistant's turns unless it
    says otherwise. Raises ConversationError for unknown roles and types.
    """
    if not messages:
        raise ConversationError(f"{name}: no messages")
    parts = []
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise ConversationError(f"{name}: message {number} has role '{role}', expected one of {', '.join(ROLES)}")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, Sequence):
            raise ConversationError(f"{name}: message {number} has neither text nor a list of parts as content")
        content = list(content) or [{"type": "text", "text": ""}]
        for place, part in enumerate(content):
            kind = part.get("type")
            if kind != "text" and kind not in MODALITIES:
                known = ", ".join(("text", *MODALITIES))
                raise ConversationError(f"{name}: message {number} has a part of type '{kind}', known are {known}")
            text = part.get("text") or ""
            target = part.get("target")
            parts.append(
                Part(
                    modality=kind,
                    text=text if kind == "text" else "",
                    value=part.get("value"),
                    message=number,
                    role=role,
                    icl_role=part.get("icl_role") or "",
                    target=role == "assistant" if target is None else bool(target),
                    last=place == len(content) - 1,
                )
            )
    return parts


def reference_of(media: Sequence[Medium], target: Medium | None) -> int | None:
    """Which of the media (all of one modality, in order) is the source of an edit that makes `target`; None: of the reply.

    The latest turn before the target that holds any decides (media that the assistant sends in the target's own turn
    are its siblings, not its source): its last medium in the query role, or else its last one.
    """
    if target is None:
        earlier = list(range(len(media)))
    else:
        same_reply = target.part.message if target.part.role == "assistant" else -1
        earlier = [
            n for n, m in enumerate(media) if m.position < target.position and m.part.message != same_reply
        ]  # fmt: skip
    if not earlier:
        return None
    turn = media[earlier[-1]].part.message
    candidates = [n for n in earlier if media[n].part.message == turn]
    queries = [n for n in candidates if media[n].part.icl_role == "query"]
    return (queries or candidates)[-1]
