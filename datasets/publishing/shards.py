"""Writes samples as WebDataset shards: `{key}.json` first, then `{key}.{pos:03d}.{ext}`.

The first five samples hold all members of their task, missing ones as placeholders (`member_padding.py`). A shard is
named by the hash of its plan: the same plan is never written twice, and a changed one never overwrites a shard that
another build uses. The receipt beside it, `….json`, lists what was written.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from codi2_datasets.formats.member_padding import MODALITIES, pad
from codi2_datasets.formats.sample import EXTENSIONS, SAMPLE_RATE, Message, Part, Sample
from codi2_datasets.formats.tar import add_member
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import decode_audio, encode_audio
from codi2_datasets.media.image import decode_image, encode_image
from codi2_datasets.media.video import decode_video, encode_video
from codi2_datasets.transforms import transforms
from codi2_storage.store import Store

VERSION = "3"


@dataclass(frozen=True)
class AssetSource:
    """Where the bytes of an asset are, or (op, params, inputs) how they are made."""

    asset_id: str
    modality: str
    shard: str | None = None
    offset: int = 0
    bytes: int = 0
    op: str | None = None
    params: str = "{}"
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShardPlan:
    """One shard to write: plan rows of samples and parts in order, and media with the columns of `AssetSource`."""

    root: Store
    name: str
    samples: pa.Table
    parts: pa.Table
    media: pa.Table
    members: tuple[str, ...] = ()
    """Every member that samples of the task have, in any of its shards: the first samples hold all of them."""


@dataclass(frozen=True)
class Receipt:
    """What a shard contains: the content of the file beside it."""

    shard: str
    samples: int
    bytes: int
    sha256: str
    derived: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    passing: bool = False
    """Some samples failed because media could not be read for now: the next build writes the shard again."""


def receipt_path(shard: str) -> str:
    return shard.removesuffix(".tar") + ".json"


def receipt_json(receipt: Receipt) -> bytes:
    return json.dumps(asdict(receipt), indent=1).encode()


def read_receipt(store: Store, shard: str) -> Receipt | None:
    """The receipt of a completely written shard, or None."""
    if not (store.exists(receipt_path(shard)) and store.exists(shard)):
        return None
    return Receipt(**json.loads(store.read_bytes(receipt_path(shard))))


def write_shard(plan: ShardPlan) -> Receipt:
    """Collect the media, write the tar and its receipt.

    Samples whose media are unavailable are left out, with the error.

    If media could not be read for now, the shard's name also depends on the samples it lacks: the plan's own name stays
    free, and the next build writes that shard.
    """
    media = media_of(plan)
    data, errors = gather(plan.root, [medium for medium in media if medium.op is None])
    unread = set(errors)
    unread |= {medium.asset_id for medium in media if unread.intersection(medium.inputs)}
    derived: dict[str, dict[str, Any]] = {}
    for medium in media:
        if medium.op is None:
            continue
        try:
            data[medium.asset_id], seconds = render(medium, data)
            size = len(data[medium.asset_id])
            derived[medium.asset_id] = {"asset_id": medium.asset_id, "bytes": size, "duration_s": seconds}
        except (MediaError, KeyError) as error:
            errors[medium.asset_id] = f"{medium.op} cannot be made: {error}"

    buffer, written, failed, passing = io.BytesIO(), 0, [], False
    every = {name: MODALITIES[name.rpartition(".")[2]] for name in plan.members}
    parts = {key: list(rows) for key, rows in groupby(plan.parts.to_pylist(), key=lambda row: row["sample_id"])}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for row in plan.samples.to_pylist():
            rows = parts[row["sample_id"]]
            missing = [r["asset_id"] for r in rows if r["modality"] != "text" and r["asset_id"] not in data]
            if missing:
                passing = passing or not unread.isdisjoint(missing)
                failed.append(
                    {"sample_id": row["sample_id"], "error": errors.get(missing[0], f"no asset {missing[0]}")}
                )
                continue
            sample = as_sample(row, rows)
            add_member(archive, f"{sample.sample_id}.json", sample.to_json().encode())
            for part in sample.parts():
                if part.part is not None and part.asset_id is not None:
                    member = f"{sample.sample_id}.{part.part}"
                    offset = archive.offset + 512
                    add_member(archive, member, data[part.asset_id])
                    place = derived.get(part.asset_id)
                    if place is not None and "member" not in place:  # the first of its places
                        place |= {"member": member, "offset": offset}
            pad(archive, written, sample, every)
            written += 1
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    name = lacking(plan.name, [row["sample_id"] for row in failed]) if passing else plan.name
    places = [row for row in derived.values() if "member" in row]
    receipt = Receipt(name, written, len(content), sha256, places, failed, passing)
    plan.root.write_bytes(name, content)
    plan.root.write_bytes(receipt_path(name), receipt_json(receipt))
    return receipt


def lacking(name: str, samples: list[str]) -> str:
    """The name of a shard of that plan without some of its samples; it sorts like the complete one."""
    digest = hashlib.sha256("\n".join([name, *sorted(samples)]).encode()).hexdigest()
    return f"{name.rpartition('-')[0]}-{digest[:16]}.tar"


def media_of(plan: ShardPlan) -> list[AssetSource]:
    return [AssetSource(**{**row, "inputs": tuple(row["inputs"])}) for row in plan.media.to_pylist()]


def gather(store: Store, media: Sequence[AssetSource]) -> tuple[dict[str, bytes], dict[str, str]]:
    """The bytes of assets, verified against their ids, with one read per file; and the errors, by asset id."""
    data: dict[str, bytes] = {}
    errors: dict[str, str] = {}
    ordered = sorted(media, key=lambda medium: (medium.shard or "", medium.offset))
    for shard, group in groupby(ordered, key=lambda medium: medium.shard or ""):
        wanted = list(group)
        try:
            payloads = store.read_ranges(shard, [(m.offset, m.offset + m.bytes) for m in wanted])
        except OSError as error:
            errors |= {medium.asset_id: f"{shard}: {error}" for medium in wanted}
            continue
        for medium, content in zip(wanted, payloads, strict=True):
            if hashlib.sha256(content).hexdigest() == medium.asset_id:
                data[medium.asset_id] = content
            else:
                errors[medium.asset_id] = f"{shard} at {medium.offset}: bytes are not those of the asset"
    return data, errors


def render(medium: AssetSource, data: dict[str, bytes]) -> tuple[bytes, float | None]:
    """Make a derived medium. Returns its bytes and, for audio, its duration in seconds. Raises MediaError."""
    derivation = transforms().get(medium.op or "")
    if derivation is None:
        raise MediaError(f"no derivation {medium.op!r}")
    made = derivation.make([decode(data[asset_id]) for asset_id in medium.inputs], json.loads(medium.params))
    if derivation.modality == "image":
        return encode_image(made), None
    if derivation.modality == "audio":
        return encode_audio(made), round(len(made) / SAMPLE_RATE, 4)
    return encode_video(made), None


def decode(data: bytes) -> np.ndarray:
    """Decode an image, audio or video of a sample, by its first bytes."""
    if data[:4] == b"fLaC":
        return decode_audio(data)
    return np.asarray(decode_image(data)) if data[:4] == b"RIFF" else decode_video(data)


def as_sample(row: dict[str, Any], parts: Sequence[dict[str, Any]]) -> Sample:
    """Convert rows of the plan to the sample they describe."""
    messages = []
    for _, turn in groupby(parts, key=lambda part: part["turn"]):
        rows = list(turn)
        messages.append(Message(rows[0]["role"], tuple(as_part(part) for part in rows)))
    return Sample(
        sample_id=row["sample_id"],
        task=row["task"],
        split=row["split"],
        holdout=row["holdout"],
        messages=tuple(messages),
        licence=row["licence"],
        seed=row["seed"],
        meta={key: value for key, value in json.loads(row["meta"]).items() if value is not None},
    )


def as_part(row: dict[str, Any]) -> Part:
    if row["modality"] == "text":
        return Part("text", row["text"], None, row["asset_id"], row["icl_role"], row["target"])
    member = f"{row['position']:03d}.{EXTENSIONS[row['modality']]}"
    return Part(row["modality"], None, member, row["asset_id"], row["icl_role"], row["target"])
