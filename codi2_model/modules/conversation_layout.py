"""Layout of a conversation: its parts, the positions of media and texts in the token sequence, references of edits.

The processor fills a `Layout` and assembles batches from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codi2_model.config import MODALITIES
from codi2_model.encoders.text_states import Pieces
from codi2_model.modules.packing import pack

Messages = Sequence[dict[str, Any]]
ROLES = ("system", "user", "assistant")


class ConversationError(ValueError):
    """A conversation is malformed or too long; the message names the sample."""


@dataclass(frozen=True)
class ConversationPart:
    """A part of a conversation, with the number and role of its message."""

    modality: str
    text: str
    value: Any
    message: int
    role: str
    icl_role: str
    target: bool
    last: bool
    """Whether it is the last part of its message."""


@dataclass(frozen=True)
class MediumPosition:
    """A medium in the token sequence. `position`: its first slot."""

    part: ConversationPart
    position: int


@dataclass(frozen=True)
class TextPosition:
    """A text for the text encoder: position of its first token, word pieces, and for each token the index of its piece."""

    position: int
    pieces: Pieces
    piece_indices: list[int]


@dataclass(frozen=True)
class Layout:
    """Tokens of a conversation; labels are NO_LOSS for tokens without token loss."""

    ids: list[int]
    labels: list[int]
    media: list[MediumPosition]
    texts: list[TextPosition] = field(default_factory=list)
    prompts: dict[int, Pieces] = field(default_factory=dict)
    """Number of a message with media to generate -> word pieces of its prompt; for models with a prompt reader."""


@dataclass(frozen=True)
class RowPosition:
    """Position of a conversation in a batch: row, and column of its first token."""

    row: int
    start: int


def row_positions(layouts: Sequence[Layout], left: bool) -> list[RowPosition]:
    """Positions of one conversation per row, padded on the left or on the right."""
    length = max(len(x.ids) for x in layouts)
    return [RowPosition(row, length - len(x.ids) if left else 0) for row, x in enumerate(layouts)]


TextRows = dict[tuple[int, ...], int]
"""Word pieces of the distinct texts of a batch -> row in `text_ids`."""


def text_rows(layouts: Sequence[Layout]) -> TextRows:
    """Rows of the distinct texts of a batch: those of the conversations, and their prompts."""
    rows: TextRows = {}
    for layout in layouts:
        for pieces in (*(text.pieces for text in layout.texts), *layout.prompts.values()):
            rows.setdefault(tuple(pieces.ids), len(rows))
    return rows


def text_fields(
    layouts: Sequence[Layout], positions: Sequence[RowPosition], rows: TextRows, shape: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Word pieces of all texts, and for each token the index of its state."""
    ids, mask = padded(list(rows), 0)
    index = torch.zeros(*shape, dtype=torch.long)
    for layout, position in zip(layouts, positions, strict=True):
        for text in layout.texts:
            start = position.start + text.position
            stop = start + len(text.piece_indices)
            first = 1 + rows[tuple(text.pieces.ids)] * ids.shape[1]
            index[position.row, start:stop] = torch.tensor(text.piece_indices) + first
    return {"text_ids": ids, "text_mask": mask, "text_index": index}


def prompt_rows(layouts: Sequence[Layout], rows: TextRows, modalities: Sequence[str]) -> dict[str, torch.Tensor]:
    """`{m}_prompt` (Nm,): for each medium of a modality the row of its prompt, -1 for none and for media that are not targets."""

    def row(layout: Layout, part: ConversationPart) -> int:
        pieces = layout.prompts.get(part.message) if part.target else None
        return -1 if pieces is None else rows[tuple(pieces.ids)]

    media = [(layout, medium.part) for layout in layouts for medium in layout.media]
    return {
        f"{modality}_prompt": torch.tensor(
            [row(layout, part) for layout, part in media if part.modality == modality], dtype=torch.long
        )
        for modality in modalities
    }


def reply_rows(layouts: Sequence[Layout], rows: TextRows) -> torch.Tensor:
    """`reply_prompt` (B,): for each conversation the row of the prompt of its reply, -1 for none."""
    prompts = [next(iter(layout.prompts.values()), None) for layout in layouts]
    return torch.tensor([-1 if pieces is None else rows[tuple(pieces.ids)] for pieces in prompts], dtype=torch.long)


def prompt_text(parts: Sequence[ConversationPart], message: int) -> str:
    """Text of the last user message before a message; "" if that has none, or if there is no such message."""
    asked = [part for part in parts if part.role == "user" and part.message < message]
    last = [part.text.strip() for part in asked if part.message == asked[-1].message and part.modality == "text"]
    return " ".join(text for text in last if text)


def packed_positions(layouts: Sequence[Layout], limit: int) -> list[RowPosition]:
    """Positions of several conversations per row, one after the other, in rows of at most `limit` tokens."""
    positions: dict[int, RowPosition] = {}
    for row, numbers in enumerate(pack([len(x.ids) for x in layouts], limit)):
        start = 0
        for number in numbers:
            positions[number] = RowPosition(row, start)
            start += len(layouts[number].ids)
    return [positions[number] for number in range(len(layouts))]


def conversation_parts(messages: Messages, name: str) -> list[ConversationPart]:
    """The parts of a conversation in order. A message without content has one empty text part.

    `content` is a string or a list of parts. The key `target` of a part defaults to true in assistant messages and to
    false elsewhere. Raises ConversationError for unknown roles and part types.
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
            raise ConversationError(f"{name}: content of message {number} must be a string or a list of parts")
        content = list(content) or [{"type": "text", "text": ""}]
        for index, part in enumerate(content):
            kind = part.get("type")
            if kind != "text" and kind not in MODALITIES:
                types = ", ".join(("text", *MODALITIES))
                raise ConversationError(
                    f"{name}: message {number} has a part of type '{kind}', expected one of {types}"
                )
            text = part.get("text") or ""
            target = part.get("target")
            parts.append(
                ConversationPart(
                    modality=kind,
                    text=text if kind == "text" else "",
                    value=part.get("value"),
                    message=number,
                    role=role,
                    icl_role=part.get("icl_role") or "",
                    target=role == "assistant" if target is None else bool(target),
                    last=index == len(content) - 1,
                )
            )
    return parts


def padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids -> ids and mask (N, L), padded on the right with `fill`."""
    length = max(map(len, rows), default=0)
    ids = torch.full((len(rows), length), fill)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
    return ids, mask


def reference_indices(media: Sequence[MediumPosition], target: MediumPosition | None) -> list[int]:
    """Indices of the media that a decoder gets as references of `target` (None: the reply), source of the edit first.

    media: all media of one modality, in order. The source comes from the latest turn before the target that has media:
    its last medium with the role `query`, or else its last medium. Other media of the assistant's own turn are not
    references. The source is followed by the other earlier media, the nearest first.
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
