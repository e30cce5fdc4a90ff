"""WebDataset: the shards of this project in one folder that needs no catalog. Lossless.

The first samples of each tar hold every member of the whole export (`member_padding.py`), so that Hugging Face's
`datasets` can read it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping

from codi2_datasets.exports.base import ExportError, Format, Item, Items, Loss, Reading
from codi2_datasets.exports.files import local_copy, whole_file
from codi2_datasets.formats.member_padding import add_sample, members_of
from codi2_datasets.formats.sample import Sample, SampleError
from codi2_datasets.readers.tars import opened_tar
from codi2_datasets.readers.values import Bad
from codi2_storage.store import Store

SAMPLES = 1000  # per shard
LOT_BYTES = 1 << 28  # bytes of media at which a chunk is full whatever its number of samples


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()
    members = dict(items.members) if isinstance(items, Items) else {}
    written: dict[str, int] = {}
    for split, number, lot in lots(items, SAMPLES):
        name = f"{split}-{number:05d}.tar"
        members |= members_of(item.sample for item in lot)
        with whole_file(store, name) as path:
            write_tar(path, lot, members)
        written[name] = len(members)
        loss.written += len(lot)
    for name, known in written.items():
        if known < len(members):  # later tars have members that were not known in advance
            with local_copy(store, name) as old, whole_file(store, name) as path:
                write_tar(path, read_tar(str(old), name), members)
    return loss


def split_of(sample: Sample) -> str:
    return sample.split


def lots(
    items: Iterable[Item], size: int, most: int = LOT_BYTES, group: Callable[[Sample], str] = split_of
) -> Iterator[tuple[str, int, list[Item]]]:
    """Items in chunks of one group each, by default of one split: (group, number of the chunk, items).

    `most`: bytes of media per chunk. At most one chunk per group is held in memory.
    """
    waiting: dict[str, list[Item]] = {}
    numbers: dict[str, int] = {}
    held: dict[str, int] = {}

    def done(name: str) -> tuple[str, int, list[Item]]:
        numbers[name] = numbers.get(name, -1) + 1
        held[name] = 0
        return name, numbers[name], waiting.pop(name)

    for item in items:
        name = group(item.sample)
        waiting.setdefault(name, []).append(item)
        held[name] = held.get(name, 0) + sum(len(data) for data in item.media.values())
        if len(waiting[name]) == size or held[name] >= most:
            yield done(name)
    for left in sorted(waiting):
        yield done(left)


def write_tar(path: object, items: Iterable[Item], members: Mapping[str, str] | None = None) -> None:
    with tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
        for number, item in enumerate(items):
            add_sample(archive, number, item.sample, item.media, members or {})


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [name for name in store.list() if name.endswith(".tar")]
    if not names:
        raise ExportError(f"webdataset: no .tar under {store.root}")
    for name in names:
        yield from read_tar(store.uri(name), name)


def read_tar(path: str, name: str) -> Iterator[Item]:
    """The items of one tar, in order. Raises ExportError if it is not a shard of this format."""
    with opened_tar(path) as archive:
        sample: Sample | None = None
        media: dict[str, bytes] = {}
        for member in archive.members:
            key, _, rest = member.name.partition(".")
            data = archive.read(member)
            if isinstance(data, Bad):
                raise ExportError(f"webdataset: {name}: {member.name}: {data.reason}")
            if rest == "json":
                if sample is not None:
                    yield whole(sample, media, name)
                try:
                    sample, media = Sample.from_json(data), {}
                except SampleError as error:
                    raise ExportError(f"webdataset: {name}: {member.name}: {error}") from error
            if sample is None or key != sample.sample_id:
                raise ExportError(f"webdataset: {name}: {member.name} does not follow the .json of its sample")
            if rest != "json":
                media[rest] = data
        if archive.bad:
            raise ExportError(f"webdataset: {name}: {archive.bad[0][1].reason}")
        if sample is not None:
            yield whole(sample, media, name)


def whole(sample: Sample, media: dict[str, bytes], name: str) -> Item:
    own = members_of([sample])
    missing = [member for member in own if member not in media]
    if missing:
        raise ExportError(f"webdataset: {name}: sample {sample.sample_id} lacks its member {missing[0]}")
    return Item(sample, {member: media[member] for member in own})


FILES = r"(train|validation|test)-\d{5,}\.tar"
FORMAT = Format("webdataset", "Tar shards for webdataset, with every field", FILES, write, read)
