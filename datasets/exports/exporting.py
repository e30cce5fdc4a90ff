"""A build out of the catalog into another format, and folders of a format back into shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from codi2_datasets.exports.base import ExportError, Format, Item, Loss, Reading
from codi2_datasets.exports.files import local_copy
from codi2_datasets.exports.registry import formats
from codi2_datasets.exports.webdataset import read_tar
from codi2_datasets.progress import Advance, progress
from codi2_storage.catalog import Catalog
from codi2_storage.store import Store

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
    """Write a build (the latest where None), or some tasks and splits of it, to the folder `out`.

    `limit` bounds the samples of each task and split. Beside the data stand ATTRIBUTION and, last, loss.json.
    Raises ExportError for a format, build or task that is not there.
    """
    chosen = by_name(format_name)
    store, catalog, target = Store(root), Catalog(root), Store(out)
    build_id = find_build(catalog, build)
    rows = catalog.sql(
        "select shard, task, split, samples from shards order by split, task, shard", build=build_id
    ).to_pylist()
    unknown = sorted(set(tasks) - {row["task"] for row in rows})
    if unknown:
        raise ExportError(
            f"build {build_id} has no task {unknown[0]!r}; it has {', '.join(sorted({r['task'] for r in rows}))}"
        )
    rows = [row for row in rows if (not tasks or row["task"] in tasks) and (not splits or row["split"] in splits)]
    if not rows:
        raise ExportError(f"build {build_id} has no samples of the splits {', '.join(splits)}")
    clear(target)
    total = sum(row["samples"] for row in rows) if limit is None else None
    with progress(f"export {format_name}", total, "samples") as advance:
        loss = chosen.write(items(store, rows, limit, advance), target)
    told = f"builds/{build_id}/ATTRIBUTION"
    if store.exists(told):
        target.write_bytes("ATTRIBUTION", store.read_bytes(told))
    summary = {"build": build_id, "format": format_name, **loss.to_dict()}
    target.write_bytes(MARK, json.dumps(summary, indent=1).encode())
    return loss


def clear(target: Store) -> None:
    """Make the folder ready: what an export before this one left is removed, anything else is not touched."""
    there = target.list()
    if there and MARK not in there:
        raise ExportError(f"{target.root} holds other files already: name an empty folder")
    for name in there:
        target.remove(name)
    target.write_bytes(MARK, b'{"unfinished": true}')


def items(store: Store, rows: Sequence[dict], limit: int | None, advance: Advance) -> Iterator[Item]:
    """The samples of shards, one shard in memory at a time."""
    taken: dict[tuple[str, str], int] = {}
    for row in rows:
        of = row["task"], row["split"]
        if limit is not None and taken.get(of, 0) >= limit:
            continue
        with local_copy(store, row["shard"]) as path:
            for item in read_tar(str(path), row["shard"]):
                if limit is not None and taken.get(of, 0) >= limit:
                    break
                taken[of] = taken.get(of, 0) + 1
                yield item
                advance(1)


def import_folder(folder: str, format_name: str, out: str, reading: Reading = Reading()) -> Loss:  # noqa: B008
    """Read a folder of a format, ours or of others, and write its samples as WebDataset shards to `out`."""
    loss = Loss()
    with progress(f"import {format_name}", None, "samples") as advance:

        def counted() -> Iterator[Item]:
            for item in by_name(format_name).read(Store(folder), reading, loss):
                yield item
                advance(1)

        clear(Store(out))
        loss.written = formats()["webdataset"].write(counted(), Store(out)).written
    Store(out).write_bytes(MARK, json.dumps({"format": format_name, **loss.to_dict()}, indent=1).encode())
    return loss


def by_name(name: str) -> Format:
    if name not in formats():
        raise ExportError(f"unknown format {name!r}; known: {', '.join(formats())}")
    return formats()[name]


def find_build(catalog: Catalog, build: str | None) -> str:
    known = [commit.id for commit in catalog.builds()]
    found = build or catalog.latest_build()
    if found is None or found not in known:
        raise ExportError(f"no build {build or ''} under {catalog.store.root}; it has {', '.join(known) or 'none'}")
    return found
