"""Normalises one partition: packs its media into a shard, commits its rows, and rejects what cannot be read."""

from __future__ import annotations

import json
import time
from itertools import groupby
from typing import Any

from codi2_datasets.corpora import RejectedRow, SourceRow
from codi2_datasets.formats.hashing import sha256
from codi2_datasets.formats.tar import pack
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import normalise_audio
from codi2_datasets.media.image import SVG, encode_image, fit, read_image
from codi2_datasets.media.video import normalise_video
from codi2_datasets.steps.partitions import COPIED, OP, VERSION, Media, Partition, partition_info, source_row_id
from codi2_storage.commits.manifests import Writer

MEDIA_TYPES = {"image": ("image/webp", "webp"), "audio": ("audio/flac", "flac"), "video": ("video/mp4", "mp4")}


def ingest_partition(partition: Partition) -> int:
    """Normalise and commit one partition. A row that cannot be read becomes a reject. Returns the number of rows kept."""
    start = time.perf_counter()
    assets, rejects, members = [], [], []
    rejected = failed = 0
    copies = read_known(partition)
    for row in partition.rows:
        ledger = {"build_id": partition.id, "subject": f"{partition.corpus}:{row.locator}", "stage": "ingest", "op": OP}
        if isinstance(row, RejectedRow):
            rejects.append({**ledger, "reason": row.reason, **({"error": row.reason} if row.is_transient else {})})
            failed += row.is_transient
            rejected += not row.is_transient
            continue
        content = sha256(row.payload)
        try:
            asset, data = copies[content] if content in copies else normalise(row, partition.media)
        except MediaError as error:
            rejects.append({**ledger, "reason": "unreadable", "error": str(error)})
            failed += 1
            continue
        own = {"source_row_id": source_row_id(row, content), "source_sha256": content, "corpus": row.corpus}
        assets.append({**asset, **own, **described_asset(row)})
        members.append(data)
    shard = f"assets/{partition.id}.tar"
    archive, offsets = pack([(asset["member"], data) for asset, data in zip(assets, members, strict=True)])
    if archive:
        partition.root.write_bytes(shard, archive)
    for asset, offset in zip(assets, offsets, strict=True):
        asset |= {"shard": shard, "offset": offset} if offset is not None else {}
    run = {"build_id": partition.id, "stage": "ingest", "op": OP, "op_version": VERSION}
    run["params"] = json.dumps({"corpus": partition.corpus, **partition.media.params()}, sort_keys=True)
    counts = {"rows_in": len(partition.rows), "rows_out": len(assets), "rejected": rejected, "failed": failed}
    info = partition_info(partition.corpus, partition.media)
    info["modalities"] = sorted({asset["modality"] for asset in assets})
    with Writer(partition.root, partition.id, "ingest", info=info) as writer:
        writer.append("ingested", assets)
        writer.append("rejects", rejects)
        writer.append("op_runs", [{**run, **counts, "seconds": time.perf_counter() - start}])
    return len(assets)


def read_known(partition: Partition) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Read back and verify the media that were already made; any that do not match are made again."""
    verified: dict[str, tuple[dict[str, Any], bytes]] = {}
    ordered = sorted(partition.known.items(), key=lambda item: (item[1]["shard"], item[1]["offset"]))
    for shard, group in groupby(ordered, key=lambda item: item[1]["shard"]):
        items = list(group)
        ranges = [(asset["offset"], asset["offset"] + asset["bytes"]) for _, asset in items]
        try:
            pieces = partition.root.read_ranges(shard, ranges)
        except OSError:
            continue
        for (content, asset), data in zip(items, pieces, strict=True):
            if sha256(data) == asset["asset_id"]:
                verified[content] = ({key: asset[key] for key in COPIED}, data)
    return verified


def described_asset(row: SourceRow) -> dict[str, Any]:
    """The columns of an asset that come from its row rather than the medium."""
    attributes = json.dumps(row.attributes, sort_keys=True, ensure_ascii=False)
    return {"modality": row.modality, "caption": row.caption, "licence": row.licence, "attributes": attributes}


def normalise(row: SourceRow, media: Media) -> tuple[dict[str, Any], bytes | None]:
    """One row's medium as columns of `ingested`, and its bytes; None for text, which stays in the table.

    Raises MediaError.
    """
    if isinstance(row.payload, str):
        size = len(row.payload.encode())
        text = {"asset_id": sha256(row.payload), "media_type": row.media_type, "bytes": size, "text": row.payload}
        return text | {"member": None}, None
    asset: dict[str, Any] = {}
    if row.modality == "image":
        image = read_image(row.payload, row.media_type, media.size)
        data = encode_image(fit(image, media.size))
        asset |= sides(media.size, None if row.media_type == SVG else image.size)
    elif row.modality == "audio":
        data, seconds = normalise_audio(row.payload, media.sample_rate, media.max_seconds)
        asset |= {"duration_s": round(seconds, 4)}
    elif row.modality == "video":
        clip = normalise_video(row.payload, row.media_type, media.size, media.fps, media.max_video_seconds)
        data = clip.data
        asset |= sides(media.size, clip.source_size) | {"duration_s": round(clip.seconds, 4)}
    else:
        raise MediaError(f"no way to normalise {row.modality}")
    media_type, extension = MEDIA_TYPES[row.modality]
    identity = sha256(data)
    asset |= {"asset_id": identity, "media_type": media_type, "bytes": len(data)}
    return asset | {"member": f"{identity}.{extension}"}, data


def sides(size: int, source: tuple[int, int] | None) -> dict[str, int | None]:
    """The columns with the sides of a normalised medium, and of the work that it was made from."""
    width, height = source or (None, None)
    return {"width": size, "height": size, "source_width": width, "source_height": height}
