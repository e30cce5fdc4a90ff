"""`CoDi2Processor`: conversations -> tensors. One path for training and inference.

- a conversation is laid out by the tokenizer's own chat template; text parts never pass through the template and are
  encoded without special tokens, so no user can write a control token;
- a medium is its begin token, `feature_tokens` slots and its end token; with `parallel_slots` as many query tokens stand before
  the slots of one that the assistant sends;
- texts that are not the assistant's go through a pretrained text encoder too, where the config has one (`text_states`);
- loss marks are per part: text of target parts, begin tokens of target media that the assistant sends, and its end of turn;
- lengths are counted before they overflow; every error names the sample.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from codi2_model.config import MODALITIES, CoDi2Config
from codi2_model.encoders.text_states import Pieces, pieces_of, places_of, text_tokenizer
from codi2_model.modules.losses import NO_LOSS
from codi2_model.modules.media import audio_tensor, image_tensor, video_tensor
from codi2_model.modules.packing import pack
from codi2_model.modules.tokenizers import build_tokenizer
from codi2_model.options import TransformerOptions
from codi2_storage.locations.files import write_whole

Messages = Sequence[dict[str, Any]]
ROLES = ("system", "user", "assistant")
PROCESSOR_NAME = "processor_config.json"
TEXT_TOKENIZER_NAME = "text_tokenizer.json"
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
class Text:
    """A text that the text encoder reads: where its first token stands, and which piece belongs to each of its tokens."""

    position: int
    pieces: Pieces
    places: list[int]


@dataclass(frozen=True)
class Layout:
    """A conversation as tokens; labels are NO_LOSS where the token loss does not fall."""

    ids: list[int]
    labels: list[int]
    media: list[Medium]
    texts: list[Text] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where a conversation stands in a batch: its row, and the column of its first token."""

    row: int
    start: int


class CoDi2Batch(dict[str, Any]):
    """Keyword arguments of the model's forward.

    input_ids, attention_mask, labels (B, T), and of packed rows position_ids; per modality m: `{m}s` (Nm, *shape) in
    [-1, 1], `{m}_sample` (row), `{m}_position` (first slot), both (Nm,) int64, `{m}_reference` (Nm, references) int64 (rows of
    `{m}s`, -1 for none), `{m}_target` (Nm,) bool;
    text_ids, text_mask (P, L): word pieces for the text encoder; text_index (B, T): which of their P * L states belongs to
    a token, counted from 1, 0 for none; of models with a caption reader `{m}_caption` (Nm,) int64: the row of text_ids that is
    all that a target was asked by, -1 for none;
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

    def __init__(
        self, config: CoDi2Config, tokenizer: PreTrainedTokenizerFast, text_tokenizer: Tokenizer | None = None
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.text_tokenizer = text_tokenizer
        self._template_ids = lru_cache(maxsize=4096)(self._encode_template)

    @classmethod
    def build(cls, config: CoDi2Config, texts: Iterable[str] | None = None) -> CoDi2Processor:
        """A processor with the tokenizer of config.llm_source, or with one trained on `texts`."""
        words = config.text_states
        return cls(
            config, build_tokenizer(config, texts), text_tokenizer(words.package) if words and words.package else None
        )

    def with_config(self, config: CoDi2Config) -> CoDi2Processor:
        """The same tokenizers under another config."""
        return type(self)(config, self.tokenizer, self.text_tokenizer)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer's files and processor_config.json."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(str(target))
        if self.text_tokenizer is not None:
            self.text_tokenizer.save(str(target / TEXT_TOKENIZER_NAME))
        content = {"processor_class": type(self).__name__, "config": self.config.to_dict()}
        write_whole(target / PROCESSOR_NAME, json.dumps(content, indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> CoDi2Processor:
        """Read what `save_pretrained` wrote. Raises FileNotFoundError where it is not there."""
        path = Path(folder) / PROCESSOR_NAME
        if not path.is_file():
            raise FileNotFoundError(f"no processor in {folder}: {PROCESSOR_NAME} is missing")
        config = CoDi2Config.from_dict(json.loads(path.read_text(encoding="utf-8"))["config"])
        words = Path(folder) / TEXT_TOKENIZER_NAME
        pieces = Tokenizer.from_file(str(words)) if words.is_file() else None
        return cls(config, PreTrainedTokenizerFast.from_pretrained(str(folder)), pieces)

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
        for number, caption in enumerate(captions):
            if not caption:
                raise ValueError(f"caption {number} is empty")
        if self.text_tokenizer is not None:
            rows = [pieces_of(self.text_tokenizer, caption).ids for caption in captions]
        else:
            rows = [self.encode_text(caption) for caption in captions]
        return padded([row[: self.config.text_max_length] for row in rows], self.config.pad_token_id)

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text: names of special tokens in it are mere letters."""
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _encode_read(self, text: str) -> tuple[list[int], Pieces, list[int]]:
        """Ids of a text, its word pieces, and for each id the piece that belongs to it."""
        assert self.text_tokenizer is not None
        found = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        pieces = pieces_of(self.text_tokenizer, text)
        return list(found["input_ids"]), pieces, places_of(pieces, [end for _, end in found["offset_mapping"]])

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
        texts: list[Text] = []
        for number, following in zip(map(int, pieces[1::2]), pieces[2::2], strict=True):
            part = parts[number]
            if part.modality == "text":
                if self.text_tokenizer is None or part.role == "assistant" or not part.text:
                    new = self.encode_text(part.text)
                else:
                    new, read, owners = self._encode_read(part.text)
                    texts.append(Text(len(ids), read, owners))
                marks = [part.target] * len(new)
            else:
                queries = config.query_ids() if part.target or part.role == "assistant" else []
                media.append(Medium(part, len(ids) + 1 + len(queries)))
                slots = [config.slot_id] * config.feature_tokens
                new = [config.begin_id(part.modality), *queries, *slots, config.end_id(part.modality)]
                marks = [part.target and part.role == "assistant", *[False] * (len(new) - 1)]
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
        return Layout(ids, labels, media, texts)

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
        if self.text_tokenizer is not None:
            batch.update(self._texts(layouts, places, batch["input_ids"].shape))
        for modality in self.config.modalities:
            batch.update(self._media(modality, layouts, names, places, replies=not training))
            if self.config.caption_layers:
                batch[f"{modality}_caption"] = caption_rows(layouts, modality)
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

    def _texts(
        self, layouts: Sequence[Layout], places: Sequence[Place], shape: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        """Word pieces of all texts, and which state belongs to which token."""
        texts = [(place, text) for layout, place in zip(layouts, places, strict=True) for text in layout.texts]
        ids, mask = padded([text.pieces.ids for _, text in texts], 0)
        index = torch.zeros(*shape, dtype=torch.long)
        for number, (place, text) in enumerate(texts):
            start = place.start + text.position
            index[place.row, start : start + len(text.places)] = torch.tensor(text.places) + 1 + number * ids.shape[1]
        return {"text_ids": ids, "text_mask": mask, "text_index": index}

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
                reference.append(self._references(modality, media, medium, start))
            reply.append(self._references(modality, media, None, start))
        shape = self.config.media_shape(modality)
        fields = {
            f"{modality}s": torch.stack(tensors) if tensors else torch.zeros(0, *shape),
            f"{modality}_sample": torch.tensor(sample, dtype=torch.long),
            f"{modality}_position": torch.tensor(position, dtype=torch.long),
            f"{modality}_target": torch.tensor(target, dtype=torch.bool),
            f"{modality}_reference": torch.tensor(reference, dtype=torch.long).reshape(
                len(tensors), self._reference_count(modality)
            ),
        }
        if replies:
            fields[f"{modality}_reply_reference"] = torch.tensor(reply, dtype=torch.long)
        return fields

    def _references(self, modality: str, media: Sequence[Medium], target: Medium | None, start: int) -> list[int]:
        """Rows of the media that a decoder is shown for a target, -1 for none; `start` is the row of the first."""
        count = self._reference_count(modality)
        found = references_of(media, target)[:count] if self.config.use_reference else []
        return [start + n for n in found] + [-1] * (count - len(found))

    def _reference_count(self, modality: str) -> int:
        options = self.config.decoder(modality)
        return options.references if isinstance(options, TransformerOptions) else 1


def caption_rows(layouts: Sequence[Layout], modality: str) -> torch.Tensor:
    """For each medium of the modality the number of its caption among all texts: the one text of a conversation whose one medium
    is a target; -1 for none."""
    rows: list[int] = []
    texts = 0
    for layout in layouts:
        sole = len(layout.texts) == 1 and len(layout.media) == 1 and layout.media[0].part.target
        rows += [texts if sole else -1 for medium in layout.media if medium.part.modality == modality]
        texts += len(layout.texts)
    return torch.tensor(rows, dtype=torch.long)


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


def padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (N, L) of rows of ids."""
    length = max(map(len, rows), default=0)
    ids = torch.full((len(rows), length), fill)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
    return ids, mask


def references_of(media: Sequence[Medium], target: Medium | None) -> list[int]:
    """Which of the media (all of one modality, in order) a decoder keeps to when it makes `target` (None: the reply).

    The source of the edit comes first, then the media before it, the nearest first. The latest turn before the target that
    holds any decides (media that the assistant sends in the target's own turn are its siblings, not its source): the source
    is its last medium in the query role, or else its last one.
    """
    if target is None:
        earlier = list(range(len(media)))
    else:
        same_reply = target.part.message if target.part.role == "assistant" else -1
        earlier = [
            n for n, m in enumerate(media) if m.position < target.position and m.part.message != same_reply
        ]  # fmt: skip
    if not earlier:
        return []
    turn = media[earlier[-1]].part.message
    candidates = [n for n in earlier if media[n].part.message == turn]
    queries = [n for n in candidates if media[n].part.icl_role == "query"]
    source = (queries or candidates)[-1]
    return [source, *(n for n in reversed(earlier) if n != source)]
