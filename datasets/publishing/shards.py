"""Writes samples as WebDataset shards: `{key}.json` first, then `{key}.{pos:03d}.{ext}`.

The first five samples hold all members of their task, missing ones as placeholders (`member_padding.py`). A shard is
named by the hash of its plan: the same plan is never written twice, and a changed one never overwrites a shard that
another build uses. The receipt beside it, `….json`, lists what was written.

A shard of an earlier build may hold most of the samples: those whose JSON is the same are copied with their media.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from codi2_datasets.formats.member_padding import MODALITIES, pad
from codi2_datasets.formats.sample import EXTENSIONS, SAMPLE_RATE, Message, Part, Sample
from codi2_datasets.formats.tar import BLOCK, Member, add_member, members
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
    earlier: str | None = None
    """The shard of the build before with the same range of samples."""


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
    rows = plan.samples.to_pylist()
    parts = {key: list(of) for key, of in groupby(plan.parts.to_pylist(), key=lambda row: row["sample_id"])}
    samples = {row["sample_id"]: as_sample(row, parts[row["sample_id"]]) for row in rows}
    media = media_of(plan)
    earlier = EarlierShard.of(plan)
    made = {medium.asset_id for medium in media if medium.op is not None}
    copied = {key: span for key, sample in samples.items() if (span := earlier.span_of(sample, made))}
    wanted = {part.asset_id for key, sample in samples.items() if key not in copied for part in sample.parts()}
    inputs = {name for medium in media if medium.asset_id in wanted for name in medium.inputs}
    data, errors = gather(plan.root, [m for m in media if m.op is None and m.asset_id in wanted | inputs])
    unread = set(errors)
    unread |= {medium.asset_id for medium in media if unread.intersection(medium.inputs)}
    derived: dict[str, dict[str, Any]] = {}
    for medium in media:
        if medium.op is None:
            continue
        if medium.asset_id not in wanted:  # only samples that are copied show it
            derived[medium.asset_id] = dict(earlier.derived[medium.asset_id])
            continue
        try:
            data[medium.asset_id], seconds = render(medium, data)
            size = len(data[medium.asset_id])
            derived[medium.asset_id] = {"asset_id": medium.asset_id, "bytes": size, "duration_s": seconds}
        except (MediaError, KeyError) as error:
            errors[medium.asset_id] = f"{medium.op} cannot be made: {error}"

    buffer, written, failed, passing = io.BytesIO(), 0, [], False
    every = {name: MODALITIES[name.rpartition(".")[2]] for name in plan.members}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for key, sample in samples.items():
            shown = [(part.asset_id or "", part.part) for part in sample.parts() if part.part]
            missing = [] if key in copied else [asset_id for asset_id, _ in shown if asset_id not in data]
            if missing:
                passing = passing or not unread.isdisjoint(missing)
                failed.append({"sample_id": key, "error": errors.get(missing[0], f"no asset {missing[0]}")})
                continue
            if key in copied:
                places = copy_members(archive, earlier.content, copied[key])
            else:
                places = add_members(archive, sample, data)
            for asset_id, member in shown:
                place = derived.get(asset_id)
                if place is not None and "member" not in place:  # the first of its places
                    place |= {"member": f"{key}.{member}", "offset": places[f"{key}.{member}"]}
            pad(archive, written, sample, every)
            written += 1
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    name = lacking(plan.name, [row["sample_id"] for row in failed]) if passing else plan.name
    shown_derived = [row for row in derived.values() if "member" in row]
    receipt = Receipt(name, written, len(content), sha256, shown_derived, failed, passing)
    plan.root.write_bytes(name, content)
    plan.root.write_bytes(receipt_path(name), receipt_json(receipt))
    return receipt


def add_members(archive: tarfile.TarFile, sample: Sample, data: dict[str, bytes]) -> dict[str, int]:
    """Add the JSON and the media of a sample. Returns the offset of each medium's bytes by member."""
    add_member(archive, f"{sample.sample_id}.json", sample.to_json().encode())
    places = {}
    for part in sample.parts():
        if part.part is not None and part.asset_id is not None:
            places[f"{sample.sample_id}.{part.part}"] = archive.offset + BLOCK
            add_member(archive, f"{sample.sample_id}.{part.part}", data[part.asset_id])
    return places


def copy_members(archive: tarfile.TarFile, content: bytes, span: Sequence[Member]) -> dict[str, int]:
    """As `add_members`, with the consecutive members of another shard."""
    shift = archive.offset - span[0].header
    archive.fileobj.write(content[span[0].header : span[-1].end])  # type: ignore[union-attr]
    archive.offset += span[-1].end - span[0].header
    return {member.name: member.start + shift for member in span}


@dataclass(frozen=True)
class EarlierShard:
    """A shard of an earlier build: its samples by id, and what its receipt says of derived media."""

    content: bytes = b""
    samples: dict[str, list[Member]] = field(default_factory=dict)
    derived: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: ShardPlan) -> EarlierShard:
        """The plan's earlier shard; an empty one if there is none or its bytes are not those of its receipt."""
        try:
            receipt = read_receipt(plan.root, plan.earlier) if plan.earlier else None
            content = plan.root.read_bytes(receipt.shard) if receipt else b""
        except OSError:
            return cls()
        if receipt is None or hashlib.sha256(content).hexdigest() != receipt.sha256:
            return cls()
        samples = {key: list(of) for key, of in groupby(members(content), lambda member: member.name.partition(".")[0])}
        known = ("asset_id", "bytes", "duration_s")
        return cls(content, samples, {row["asset_id"]: {name: row[name] for name in known} for row in receipt.derived})

    def span_of(self, sample: Sample, derived: Collection[str]) -> list[Member]:
        """The members of the sample if all are here and no other, and the JSON is the same; otherwise nothing."""
        span = self.samples.get(sample.sample_id, [])
        own = [f"{sample.sample_id}.{name}" for name in ("json", *(part.part for part in sample.parts() if part.part))]
        if [member.name for member in span] != own:
            return []
        made = {part.asset_id for part in sample.parts()}.intersection(derived)
        json_bytes = self.content[span[0].start : span[0].start + span[0].size]
        return span if json_bytes == sample.to_json().encode() and made <= self.derived.keys() else []


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
