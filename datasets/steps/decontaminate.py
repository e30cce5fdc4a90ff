"""Decontamination, part of `select`: removes assets that are near an item of a named evaluation set.

An evaluation set is a folder, local or at any fsspec URI: images, audio, video, texts (.txt), and objects of .jsonl
with a field `text`. Its items are normalised and measured like the corpora.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from codi2_datasets.corpora import SourceRow
from codi2_datasets.dedup import decontaminate, minhash, perceptual
from codi2_datasets.dedup.decontaminate import THRESHOLDS, Items
from codi2_datasets.dedup.signals import NEEDS, WORDS, as_matrix, signals_of
from codi2_datasets.formats.hashing import digest, sha256
from codi2_datasets.formats.valid_values import plain_string
from codi2_datasets.media import MediaError
from codi2_datasets.operators import operators
from codi2_datasets.readers.files import find, opened
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.lines import decoded
from codi2_datasets.readers.values import Bad
from codi2_datasets.recipe_schema import EvaluationSet, Recipe, RecipeError
from codi2_datasets.sources.registries import SourceUnavailable
from codi2_datasets.steps.enrich import DECODE
from codi2_datasets.steps.ledger import reject
from codi2_datasets.steps.normalise import normalise
from codi2_datasets.steps.partitions import Media

KINDS = {
    "image": {
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "webp": "image/webp",
        "svg": "image/svg+xml",
    },
    "audio": {"flac": "audio/flac", "wav": "audio/wav", "ogg": "audio/ogg", "mp3": "audio/mpeg"},
    "video": {"mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif"},
    "text": {"txt": "text/plain", "jsonl": "application/jsonl"},
}


@dataclass(frozen=True)
class Item:
    """One item of an evaluation set. `name`: its file, and the row if it is one of many."""

    name: str
    modality: str
    media_type: str
    payload: bytes | str


def read_set(choice: EvaluationSet) -> list[Item]:
    """All items in the folder, by name. Raises RecipeError if it cannot be read or holds nothing usable."""
    named = f"decontaminate: {choice.name}"
    try:
        files = find(choice.folder, tuple(f"*.{ending}" for kinds in KINDS.values() for ending in kinds))
        items = [item for file in files for item in read_file(file, named)]
    except SourceUnavailable as error:
        raise RecipeError(f"{named}: no image, audio, video or text under {choice.folder}: {error.reason}") from error
    except OSError as error:
        raise RecipeError(f"{named}: {choice.folder} cannot be read: {error}") from error
    if not items:
        raise RecipeError(f"{named}: no image, audio, video or text under {choice.folder}")
    return items


def read_file(file: str, named: str) -> Iterator[Item]:
    name = file.rpartition("/")[2]
    extension = name.rpartition(".")[2].lower()
    modality = next((modality for modality, types in KINDS.items() if extension in types), None)
    if modality is None:
        return
    if extension == "jsonl":
        for number, row in json_rows(file):
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                reason = row.reason if isinstance(row, Bad) else "no string 'text'"
                raise RecipeError(f"{named}: {name}, row {number + 1}: {reason}")
            yield Item(f"{name}:{number + 1}", "text", "text/plain", plain_string(row["text"]))
        return
    with opened(file, seekable=True) as handle:
        content = handle.read()
    try:
        yield Item(name, modality, KINDS[modality][extension], decoded(content) if modality == "text" else content)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{named}: {name}: broken UTF-8") from error


def digest_of(choices: tuple[EvaluationSet, ...]) -> str:
    """The hash of everything in the sets: part of a build's id."""
    return digest([[c.name, [[item.name, sha256(item.payload)] for item in read_set(c)]] for c in choices])


def drop_contaminated(connection: duckdb.DuckDBPyConnection, build_id: str, recipe: Recipe) -> None:
    """Reject assets from `selected` that are near an item of any evaluation set; `error` names the item and the method."""
    for choice in recipe.decontaminate:
        start = time.perf_counter()
        rows: list[dict[str, Any]] = []
        items = read_set(choice)
        for modality in sorted({item.modality for item in items}):
            rows += near(connection, recipe, modality, [item for item in items if item.modality == modality])
        best = {row["asset_id"]: row for row in sorted(rows, key=lambda row: (row["asset_id"], row["score"]))}
        connection.execute("create temp table dropped (asset_id varchar, score double, error varchar)")
        if best:
            values = [(row["asset_id"], row["score"], row["error"]) for row in best.values()]
            connection.executemany("insert into dropped values (?, ?, ?)", values)
        params = {"set": choice.name, "items": len(items)}
        reject(
            connection, build_id, "decontaminate", params, f"near an item of the evaluation set {choice.name}", start
        )


def near(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, modality: str, items: list[Item]
) -> list[dict[str, Any]]:
    """Assets of one modality that are near one of the items."""
    ops = [op for (kind, _), (op, _) in NEEDS.items() if kind == modality and op in {s.op for s in recipe.signals}]
    names, measured = measure(items, ops, Media.of(recipe))
    ids = [name for (name,) in connection.execute(
        "select asset_id from selected where modality = ? order by asset_id", [modality]).fetchall()]  # fmt: skip
    rows = []
    for op in [*ops, None]:
        signals = next((signals for known, signals in NEEDS.values() if known == op), ())
        places, columns = signals_of(connection, op, signals, ids) if op else (np.arange(len(ids)), {})
        assets = [ids[place] for place in places.tolist()]
        ours = {name: column.to_pylist() if name in WORDS else as_matrix(column) for name, column in columns.items()}
        texts = texts_of(connection, assets) if modality == "text" and op is None else None
        theirs = {name: [item[name] for item in measured] for name in signals}
        others = [str(item["text"]) for item in measured] if texts is not None else None
        matches = decontaminate.matches(
            as_items(assets, ours, texts),
            as_items([item["asset_id"] for item in measured], theirs, others),
            THRESHOLDS[modality],
        )
        for match in matches:
            why = f"{names[match.item]}, {match.method}"
            rows.append({"asset_id": assets[match.asset], "score": match.score, "error": why})
    return rows


def as_items(ids: list[str], signals: dict[str, Any], texts: list[str] | None) -> Items:
    """Convert signals by name to `Items`."""
    hashes = signals.get("phash") or signals.get("fingerprint")
    thumbs = next((signals[name] for name in ("thumb", "sound_thumb") if name in signals), None)
    vectors = next((value for name, value in signals.items() if name.endswith("_embedding")), None)
    return Items(
        ids,
        perceptual.hashes(hashes) if hashes else None,
        np.asarray(thumbs, dtype=np.float32) if hashes else None,
        np.asarray(vectors, dtype=np.float32) if vectors is not None and len(vectors) else None,
        minhash.signatures(signals["minhash"]) if signals.get("minhash") else None,
        texts,
    )


def measure(items: list[Item], ops: list[str], media: Media) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the items, and their asset_id, text and signals, computed as for assets.

    Raises RecipeError if one is unreadable.
    """
    names, measured = [], []
    for item in items:
        row = SourceRow("", item.name, item.modality, item.payload, item.media_type, "", "", "")
        try:
            asset, data = normalise(row, media)
            medium = item.payload if data is None else DECODE[item.modality](data)
            signals = {key: value for op in ops for key, value in operators()[op].measure(medium).items()}
        except MediaError as error:
            raise RecipeError(f"decontaminate: {item.name}: {error}") from error
        names.append(item.name)
        measured.append({"asset_id": asset["asset_id"], "text": item.payload, **signals})
    return names, measured


def texts_of(connection: duckdb.DuckDBPyConnection, ids: list[str]) -> list[str]:
    rows = dict(connection.execute("select asset_id, text from selected where modality = 'text'").fetchall())
    return [rows[name] for name in ids]
