"""Converts a request and its reply to a sample, so that generations can be browsed, trained on and used in builds."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.member_padding import add_sample, members_of
from codi2_datasets.formats.sample import EXTENSIONS, Message, Part, Sample
from codi2_datasets.media.audio import encode_audio
from codi2_datasets.media.image import encode_image
from codi2_datasets.media.video import encode_video
from codi2_datasets.tasks import check_task
from codi2_model.evaluation.report.outputs import clipped, even_sides

EncodedSample = tuple[Sample, dict[str, bytes]]
TASK_BY_MODALITIES = {  # (input modality, output modality) -> task of a row that names none
    ("", "image"): "text_to_image", ("", "audio"): "text_to_audio", ("", "video"): "text_to_video",
    ("image", "image"): "image_editing", ("audio", "audio"): "audio_editing", ("image", "audio"): "image_to_audio",
    ("audio", "image"): "audio_to_image", ("image", "text"): "visual_question_answering",
    ("audio", "text"): "audio_captioning", ("video", "text"): "video_captioning", ("", "text"): "text_instruction",
}  # fmt: skip


def to_sample(
    name: str, messages: Sequence[dict[str, Any]], reply: Sequence[dict[str, Any]], about: dict[str, Any]
) -> EncodedSample:
    """The sample, and its media by member name. `about`: task?, split, licence?, seed, checkpoint."""
    conversation = [*messages, {"role": "assistant", "content": list(reply)}]
    media: dict[str, bytes] = {}
    made, position = [], 0
    for number, message in enumerate(conversation):
        parts = []
        for part in message["content"]:
            parts.append(_part(part, position, media, target=number == len(messages)))
            position += 1
        made.append(Message(message["role"], tuple(parts)))
    task = about.get("task") or task_of(messages, reply)
    check_task(task)
    identity = digest([name, about["checkpoint"], about["seed"], [m["role"] for m in conversation], sorted(media)])
    texts = [part.text for message in made for part in message.content if part.text is not None]
    assets = [part.asset_id for message in made for part in message.content if part.asset_id is not None]
    sample = Sample(
        sample_id=digest([identity, texts, assets])[:32],
        task=task,
        split=about["split"],
        messages=tuple(made),
        licence=str(about.get("licence") or "unknown"),
        seed=int(about["seed"]),
        meta={"request_id": name, "checkpoint_id": about["checkpoint"], "generated": True},
    )
    return sample, media


def _part(part: dict[str, Any], position: int, media: dict[str, bytes], target: bool) -> Part:
    role: Any = "target" if target else None
    if part["type"] == "text":
        return Part("text", part["text"], icl_role=role, target=target)
    data = encoded(part["type"], part["value"])
    member = f"{position:03d}.{EXTENSIONS[part['type']]}"
    media[member] = data
    return Part(part["type"], None, member, hashlib.sha256(data).hexdigest(), role, target)


def encoded(modality: str, value: Any) -> bytes:
    """A medium in the file format of samples: WebP, FLAC or MP4."""
    if modality == "image":
        return encode_image(value)
    return encode_audio(clipped(value)) if modality == "audio" else encode_video(even_sides(np.asarray(value)))


def task_of(messages: Sequence[dict[str, Any]], reply: Sequence[dict[str, Any]]) -> str:
    """The task that fits the modalities of a conversation best."""
    inputs = {part["type"] for message in messages for part in message["content"]} - {"text"}
    outputs = {part["type"] for part in reply} - {"text"} or {"text"}
    if sum(message["role"] == "user" for message in messages) > 1:
        return "multi_turn"
    if len(outputs) > 1:
        return "joint_image_audio"
    kind = next(iter(outputs))
    source = kind if kind in inputs else next(iter(sorted(inputs)), "")
    return TASK_BY_MODALITIES.get((source, kind), "text_to_video" if kind == "video" else "reasoning")


def shard_of(samples: Sequence[EncodedSample]) -> bytes:
    """A shard with the samples in order. Equal samples give equal bytes."""
    buffer = io.BytesIO()
    members = members_of(sample for sample, _ in samples)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (sample, media) in enumerate(samples):
            add_sample(archive, number, sample, media, members)
    return buffer.getvalue()
