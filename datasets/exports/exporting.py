"""Exports a build to another format, and imports folders of a format as shards."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import Any

from codi2_datasets.exports.base import ExportError, Format, Item, Items, Loss, Reading
from codi2_datasets.exports.files import local_copy
from codi2_datasets.exports.registry import formats
from codi2_datasets.exports.webdataset import read_tar
from codi2_datasets.formats.sample import EXTENSIONS
from codi2_datasets.runtime.progress import Advance, progress
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import nearest_hint
from codi2_storage.store import Store
from codi2_storage.uris import identity

MARK = "loss.json"


def export(
    root: str,
    build: str | None,
    format_name: str,
    out: str,
    tasks: Sequence[str] = (),
    splits: Sequence[str] = (),
    limit: int | None = None,
) -> Loss:
    """Write a build (by default the latest), or some of its tasks and splits, to the folder `out`.

    `limit` bounds the samples of each task and split. Besides the data, ATTRIBUTION and finally loss.json are written.
    Raises ExportError for an unknown format, build or task.
    """
    chosen = by_name(format_name)
    store, catalog, target = Store(root), Catalog(root), Store(out)
    build_id = find_build(catalog, build)
    rows = catalog.sql(
        "select shard, task, split, samples, sha256 from shards order by split, task, shard", build=build_id
    ).to_pylist()
    unknown = sorted(set(tasks) - {row["task"] for row in rows})
    if unknown:
        raise ExportError(
            f"build {build_id} has no task {unknown[0]!r}; it has {', '.join(sorted({r['task'] for r in rows}))}"
        )
    rows = [row for row in rows if (not tasks or row["task"] in tasks) and (not splits or row["split"] in splits)]
    if not rows:
        raise ExportError(f"build {build_id} has no samples of the splits {', '.join(splits)}")
    clear(target, format_name)
    total = sum(row["samples"] for row in rows) if limit is None and chosen.source is None else None
    with progress(f"export {format_name}", total, "samples") as advance:
        members = members_in(catalog, build_id, sorted({row["task"] for row in rows}))
        if chosen.source is None:
            source: Iterable[Item] = items(store, rows, limit, advance)
        else:
            kept = {(row["task"], row["split"]) for row in rows}
            source = some_of(chosen.source(catalog, build_id), kept, limit, advance)
        loss = chosen.write(Items(source, members), target)
    attribution = f"builds/{build_id}/ATTRIBUTION"
    if store.exists(attribution):
        target.write_bytes("ATTRIBUTION", store.read_bytes(attribution))
    summary = {"build": build_id, "format": format_name, **loss.to_dict()}
    target.write_bytes(MARK, json.dumps(summary, indent=1).encode())
    return loss


def clear(target: Store, format_name: str) -> None:
    """Remove an earlier export in the same format from the folder. Raises ExportError if it holds anything else."""
    there = target.list()
    if (before := mark_of(target).get("format", format_name)) != format_name:
        raise ExportError(
            f"{target.root} holds an export to {before}, which {format_name} does not replace: name another folder"
        )
    ours = re.compile("|".join([re.escape(MARK), "ATTRIBUTION", *(known.files for known in formats().values())]))
    others = [name for name in there if not ours.fullmatch(name)] if MARK in there else there
    if others:
        raise ExportError(f"{target.root} holds other files already, as {others[0]}: name an empty folder")
    for name in there:
        target.remove(name)
    target.write_bytes(MARK, json.dumps({"unfinished": True, "format": format_name}).encode())


def mark_of(target: Store) -> dict[str, Any]:
    """The content of a folder's loss.json; empty if there is none from this program."""
    try:
        content = json.loads(target.read_bytes(MARK)) if target.exists(MARK) else {}
    except ValueError:
        content = {}
    return content if isinstance(content, dict) else {}


def items(store: Store, rows: Sequence[dict], limit: int | None, advance: Advance) -> Iterator[Item]:
    """The samples of shards, one in memory at a time. Raises ExportError for a shard that does not match its hash."""
    taken: dict[tuple[str, str], int] = {}
    for row in rows:
        of = row["task"], row["split"]
        if limit is not None and taken.get(of, 0) >= limit:
            continue
        with local_copy(store, row["shard"]) as path:
            check(path, row)
            for item in read_tar(str(path), row["shard"]):
                if limit is not None and taken.get(of, 0) >= limit:
                    break
                taken[of] = taken.get(of, 0) + 1
                yield item
                advance(1)


def some_of(source: Iterable[Item], kept: Set[tuple[str, str]], limit: int | None, advance: Advance) -> Iterator[Item]:
    """The items of these tasks and splits, at most `limit` of each."""
    taken = Counter[tuple[str, str]]()
    for item in source:
        of = item.sample.task, item.sample.split
        if of in kept and (limit is None or taken[of] < limit):
            taken[of] += 1
            yield item
            advance(1)


def members_in(catalog: Catalog, build_id: str, tasks: Sequence[str]) -> dict[str, str]:
    """Every member of these tasks' samples, with its modality."""
    rows = catalog.sql(
        """select distinct position, modality from parts join samples using (sample_id)
           where modality <> 'text' and list_contains(?, task) order by all""",
        [tasks],
        build=build_id,
    ).to_pylist()
    return {f"{row['position']:03d}.{EXTENSIONS[row['modality']]}": row["modality"] for row in rows}


def check(path: Path, row: dict) -> None:
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != row["sha256"]:
            raise ExportError(f"{row['shard']}: bytes are not those of the build")


def import_folder(folder: str, format_name: str, out: str, reading: Reading = Reading()) -> Loss:  # noqa: B008
    """Read a folder of a format, from this or another tool, and write its samples as WebDataset shards to `out`.

    Nothing at `out` is changed before the first sample is read. Raises ExportError if it is not such a folder.
    """
    source, target, loss = Store(folder), Store(out), Loss()
    if identity(source) == identity(target):
        raise ExportError(f"{folder} cannot be read and written at once: name another folder")
    if mark_of(source).get("unfinished"):
        raise ExportError(f"{folder} is an export that was not finished")
    samples = by_name(format_name).read(source, reading, loss)
    first = next(samples, None)
    if first is None:
        raise ExportError(f"{format_name}: no sample under {folder} can be read: {dict(loss.left_out)}")
    clear(target, "webdataset")
    with progress(f"import {format_name}", None, "samples") as advance:

        def counted() -> Iterator[Item]:
            for item in chain([first], samples):
                yield item
                advance(1)

        loss.written = formats()["webdataset"].write(counted(), target).written
    summary = {"format": "webdataset", "imported": format_name, **loss.to_dict()}
    target.write_bytes(MARK, json.dumps(summary, indent=1).encode())
    return loss


def by_name(name: str) -> Format:
    if name not in formats():
        known = formats()
        raise ExportError(f"unknown format {name!r}; known: {', '.join(known)}{nearest_hint(name, known)}")
    return formats()[name]


def find_build(catalog: Catalog, build: str | None) -> str:
    build_id = catalog.named(build)
    if build_id is None:
        raise ExportError(f"no build under {catalog.store.root}: nothing to export")
    return build_id
