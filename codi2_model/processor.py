"""`CoDi2Processor`: converts conversations to tensors, for training and inference alike.

- The chat template of the tokenizer defines the layout. Text parts do not pass through the template and are encoded
  without special tokens, so user text cannot contain control tokens.
- A medium is its begin token, `feature_tokens` slots and its end token. With `parallel_slots`, media of the assistant have
  as many query tokens before the slots.
- If the config has a pretrained text encoder (`text_states`), it also reads all texts except those of the assistant.
- Labels are set for text of target parts, begin tokens of target media of the assistant, and the end of its turn.
- Lengths are checked before they overflow. Every error names the sample.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from codi2_model.config import CoDi2Config
from codi2_model.encoders.text_states import Pieces, piece_indices, split_pieces, text_tokenizer
from codi2_model.modules.batch import CoDi2Batch
from codi2_model.modules.conversation_layout import (
    ConversationError,
    ConversationPart,
    Layout,
    MediumPosition,
    Messages,
    RowPosition,
    TextPosition,
    conversation_parts,
    packed_positions,
    padded,
    prompt_rows,
    prompt_text,
    reference_indices,
    reply_rows,
    row_positions,
    text_fields,
    text_rows,
)
from codi2_model.modules.losses import NO_LOSS
from codi2_model.modules.media import audio_tensor, image_tensor, video_tensor
from codi2_model.modules.tokenizers import build_tokenizer
from codi2_storage.locations.files import write_whole

__all__ = ["CoDi2Batch", "CoDi2Processor", "ConversationError", "Messages"]
PROCESSOR_NAME = "processor_config.json"
TEXT_TOKENIZER_NAME = "text_tokenizer.json"
_MARK = re.compile("\ue000([0-9]+)\ue001")


class CoDi2Processor:
    """Converts conversations to `CoDi2Batch`: tokenizer, media preparation, layout."""

    def __init__(
        self, config: CoDi2Config, tokenizer: PreTrainedTokenizerFast, text_tokenizer: Tokenizer | None = None
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.text_tokenizer = text_tokenizer
        self._template_ids = lru_cache(maxsize=4096)(self._encode_template)

    @classmethod
    def build(cls, config: CoDi2Config, texts: Iterable[str] | None = None) -> CoDi2Processor:
        """A processor with the tokenizer of `config.llm_source`, or else with one trained on `texts`."""
        states = config.text_states
        return cls(
            config,
            build_tokenizer(config, texts),
            text_tokenizer(states.package) if states and states.package else None,
        )

    def with_config(self, config: CoDi2Config) -> CoDi2Processor:
        """A processor with the same tokenizers and another config."""
        return type(self)(config, self.tokenizer, self.text_tokenizer)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the files of the tokenizers and processor_config.json."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(str(target))
        if self.text_tokenizer is not None:
            self.text_tokenizer.save(str(target / TEXT_TOKENIZER_NAME))
        content = {"processor_class": type(self).__name__, "config": self.config.to_dict()}
        write_whole(target / PROCESSOR_NAME, json.dumps(content, indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> CoDi2Processor:
        """Read a folder written by `save_pretrained`. Raises FileNotFoundError if it has no processor_config.json."""
        path = Path(folder) / PROCESSOR_NAME
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: not a processor folder, {PROCESSOR_NAME} is missing")
        config = CoDi2Config.from_dict(json.loads(path.read_text(encoding="utf-8"))["config"])
        file = Path(folder) / TEXT_TOKENIZER_NAME
        pieces = Tokenizer.from_file(str(file)) if file.is_file() else None
        return cls(config, PreTrainedTokenizerFast.from_pretrained(str(folder)), pieces)

    def image(self, value: Any) -> torch.Tensor:
        """PIL image or array -> (3, S, S) in [-1, 1]."""
        return image_tensor(value, self.config.image_size)

    def audio(self, value: Any) -> torch.Tensor:
        """A mono float waveform at 16 kHz, of any length -> (1, mels, frames), or (1, samples), in [-1, 1]."""
        return audio_tensor(value, self.config.audio)

    def video(self, value: Any) -> torch.Tensor:
        """Frames (T, height, width, 3) of uint8 at 8 frames per second -> (3, frames, size, size) in [-1, 1]."""
        return video_tensor(value, self.config.video)

    def medium(self, modality: str, value: Any) -> torch.Tensor:
        """Convert a value by `image`, `audio` or `video`. Raises ValueError for a modality that the model lacks."""
        if modality not in self.config.modalities:
            raise ValueError(
                f"modality '{modality}' is not supported by this model; it has {', '.join(self.config.modalities)}"
            )
        return {"image": self.image, "audio": self.audio, "video": self.video}[modality](value)

    def encode_captions(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Captions -> ids and mask (N, L) for the text encoder, truncated to `config.text_max_length`.

        Raises ValueError for an empty caption.
        """
        for number, caption in enumerate(captions):
            if not caption:
                raise ValueError(f"caption {number} is empty")
        if self.text_tokenizer is not None:
            rows = [split_pieces(self.text_tokenizer, caption).ids for caption in captions]
        else:
            rows = [self.encode_text(caption) for caption in captions]
        return padded([row[: self.config.text_max_length] for row in rows], self.config.pad_token_id)

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text; names of special tokens in it are encoded as plain text."""
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _encode_with_pieces(self, text: str) -> tuple[list[int], Pieces, list[int]]:
        """Ids of a text, its word pieces, and for each id the index of its piece."""
        assert self.text_tokenizer is not None
        encoded = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        pieces = split_pieces(self.text_tokenizer, text)
        return list(encoded["input_ids"]), pieces, piece_indices(pieces, [end for _, end in encoded["offset_mapping"]])

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _encode_template(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def layout(self, messages: Messages, name: str = "conversation", prompt: bool = False) -> Layout:
        """Token sequence of a conversation, without reading its media. prompt: end it with the beginning of a reply.

        Raises ConversationError if the conversation is malformed or longer than `config.max_length`.
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
        media: list[MediumPosition] = []
        texts: list[TextPosition] = []
        for number, following in zip(map(int, pieces[1::2]), pieces[2::2], strict=True):
            part = parts[number]
            if part.modality == "text":
                if self.text_tokenizer is None or part.role == "assistant" or not part.text:
                    new = self.encode_text(part.text)
                else:
                    new, words, indices = self._encode_with_pieces(part.text)
                    texts.append(TextPosition(len(ids), words, indices))
                marks = [part.target] * len(new)
            else:
                queries = config.query_ids() if part.target or part.role == "assistant" else []
                media.append(MediumPosition(part, len(ids) + 1 + len(queries)))
                slots = [config.slot_id] * config.feature_tokens
                new = [config.begin_id(part.modality), *queries, *slots, config.end_id(part.modality)]
                marks = [part.target and part.role == "assistant", *[False] * (len(new) - 1)]
            template = self._template_ids(following)
            new += template
            # the assistant also generates the end of its turn, with the space that some templates put before it
            closes = part.target and part.role == "assistant" and part.last and config.eos_token_id in template
            end = template.index(config.eos_token_id) if closes else -1
            marks += [n <= end for n in range(len(template))]
            ids += new
            labels += [token if mark else NO_LOSS for token, mark in zip(new, marks, strict=True)]
        if len(ids) > config.max_length:
            raise ConversationError(f"{name}: {len(ids)} tokens exceed max_length {config.max_length} of the model")
        return Layout(ids, labels, media, texts, self._prompts(parts, media, len(messages) if prompt else None))

    def _prompts(
        self, parts: Sequence[ConversationPart], media: Sequence[MediumPosition], reply: int | None
    ) -> dict[int, Pieces]:
        """Prompts of the messages with target media, or only that of the reply, if `reply` is its number."""
        if self.text_tokenizer is None or not self.config.prompt_layers:
            return {}
        answers = {medium.part.message for medium in media if medium.part.target} if reply is None else {reply}
        texts = {message: prompt_text(parts, message) for message in sorted(answers)}
        return {message: split_pieces(self.text_tokenizer, text) for message, text in texts.items() if text}

    def count(self, messages: Messages, name: str = "conversation") -> int:
        """Number of tokens of a conversation including feature slots; media need no value. Errors as in `layout`."""
        return len(self.layout(messages, name).ids)

    def __call__(
        self,
        conversations: Sequence[Messages],
        training: bool = False,
        sample_ids: Sequence[str] | None = None,
        packed: bool = False,
    ) -> CoDi2Batch:
        """Build a batch of conversations with any mix of modalities. Media parts need a `value`.

        training: pad on the right, with labels. Otherwise pad on the left, append the beginning of a reply unless the last
        message is the assistant's, and add `{m}_reply_reference` (B, references): the references of a medium in the reply.
        packed: several conversations per row, separated by `position_ids`; for training only.
        sample_ids: names for error messages; default: the number of the conversation. Raises ConversationError.
        """
        if sample_ids is not None and len(sample_ids) != len(conversations):
            raise ValueError(f"{len(sample_ids)} sample_ids for {len(conversations)} conversations")
        if not conversations:
            raise ValueError("no conversations")
        if packed and not training:
            raise ValueError("packed=True needs training=True")
        names = (
            [f"sample {i}" for i in sample_ids]
            if sample_ids
            else [f"conversation {n}" for n in range(len(conversations))]
        )
        layouts = []
        for name, messages in zip(names, conversations, strict=True):
            reply = not training and bool(messages) and messages[-1].get("role") != "assistant"
            layouts.append(self.layout(messages, name, prompt=reply))
        if packed:
            positions = packed_positions(layouts, self.config.max_length)
        else:
            positions = row_positions(layouts, left=not training)
        batch = self._tokens(layouts, positions, training, packed)
        for modality in self.config.modalities:
            batch.update(self._media(modality, layouts, names, positions, replies=not training))
        if self.text_tokenizer is not None:
            rows = text_rows(layouts)
            batch.update(text_fields(layouts, positions, rows, batch["input_ids"].shape))
            if self.config.prompt_layers:
                batch.update(prompt_rows(layouts, rows, self.config.modalities))
                if not training:
                    batch["reply_prompt"] = reply_rows(layouts, rows)
        batch["sample_ids"] = [
            ", ".join(name for name, position in zip(names, positions, strict=True) if position.row == row)
            for row in range(len(batch["input_ids"]))
        ]
        return batch

    def _tokens(
        self, layouts: Sequence[Layout], positions: Sequence[RowPosition], training: bool, packed: bool
    ) -> CoDi2Batch:
        rows = 1 + max(position.row for position in positions)
        length = max(position.start + len(x.ids) for x, position in zip(layouts, positions, strict=True))
        ids = torch.full((rows, length), self.config.pad_token_id)
        mask = torch.zeros(rows, length, dtype=torch.long)
        labels = torch.full((rows, length), NO_LOSS)
        # padding after the last sample of a packed row counts from 0 again
        order = torch.arange(length).repeat(rows, 1)
        for layout, position in zip(layouts, positions, strict=True):
            columns = slice(position.start, position.start + len(layout.ids))
            ids[position.row, columns] = torch.tensor(layout.ids)
            labels[position.row, columns] = torch.tensor(layout.labels)
            mask[position.row, columns] = 1
            order[position.row, position.start :] = torch.arange(length - position.start)
            order[position.row, columns.stop :] = torch.arange(length - columns.stop)
        batch = CoDi2Batch(input_ids=ids, attention_mask=mask)
        if training:
            batch["labels"] = labels
        if packed:
            batch["position_ids"] = order
        return batch

    def _media(
        self,
        modality: str,
        layouts: Sequence[Layout],
        names: Sequence[str],
        positions: Sequence[RowPosition],
        replies: bool,
    ) -> dict[str, torch.Tensor]:
        tensors: list[torch.Tensor] = []
        sample, position, target, reference, reply = [], [], [], [], []
        for layout, name, placed in zip(layouts, names, positions, strict=True):
            media = [medium for medium in layout.media if medium.part.modality == modality]
            start = len(tensors)
            for medium in media:
                if medium.part.value is None:
                    raise ConversationError(f"{name}: a part of type {modality} has no value")
                try:
                    tensors.append(self.medium(modality, medium.part.value))
                except ValueError as error:
                    raise ConversationError(f"{name}: {error}") from None
                sample.append(placed.row)
                position.append(medium.position + placed.start)
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
                len(tensors), self.config.reference_count(modality)
            ),
        }
        if replies:
            fields[f"{modality}_reply_reference"] = torch.tensor(reply, dtype=torch.long)
        return fields

    def _references(
        self, modality: str, media: Sequence[MediumPosition], target: MediumPosition | None, start: int
    ) -> list[int]:
        """Rows of the reference media of a target, -1 for none. start: row of the first medium of the conversation."""
        count = self.config.reference_count(modality)
        indices = reference_indices(media, target)[:count] if self.config.use_reference else []
        return [start + n for n in indices] + [-1] * (count - len(indices))
