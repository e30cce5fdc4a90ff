"""Replies of batch generation that a catalog knows: samples in the shards of the batches' folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from codi2_datasets.exports.base import Item
from codi2_datasets.exports.webdataset import read_tar
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store
from codi2_storage.uris import absolute

SHARDS_IN_MEMORY = 16  # of at most 32 samples each


@dataclass(frozen=True)
class GeneratedReply:
    """Where the sample of a reply is. request_id: the id of the request, for requests of a build's shards a sample's id."""

    request_id: str
    sample_id: str
    checkpoint_id: str
    folder: str
    shard: str


def replies_to(catalog: Catalog, build: str) -> list[GeneratedReply]:
    """The replies to requests that are samples of a build, by request. Batches whose folder is gone are passed over."""
    table = catalog.sql(
        """select distinct g.request_id, g.sample_id, g.checkpoint_id, g.uri
           from generations g join samples s on g.request_id = s.sample_id where g.status = 'done' order by all""",
        build=build,
    )
    shards: dict[str, dict[str, str]] = {}
    replies: dict[str, GeneratedReply] = {}
    for row in table.to_pylist():
        folder = absolute(catalog.store, row.pop("uri")).rpartition("/")[0]
        if folder not in shards:
            shards[folder] = shards_of(Store(folder))
        if shard := shards[folder].get(row["sample_id"]):
            replies.setdefault(row["sample_id"], GeneratedReply(**row, folder=folder, shard=shard))
    return list(replies.values())


def shards_of(folder: Store) -> dict[str, str]:
    """sample id -> shard, by the receipts of a batch."""
    receipts = [json.loads(folder.read_bytes(name)) for name in folder.list("shards") if name.endswith(".json")]
    return {row["sample_id"]: receipt["shard"] for receipt in receipts for row in receipt["rows"] if "sample_id" in row}


def load_replies(replies: Iterable[GeneratedReply]) -> Iterator[Item]:
    """The samples of replies, in order."""

    @lru_cache(SHARDS_IN_MEMORY)
    def shard(folder: str, name: str) -> dict[str, Item]:
        return {item.sample.sample_id: item for item in read_tar(Store(folder).uri(name), name)}

    for reply in replies:
        yield shard(reply.folder, reply.shard)[reply.sample_id]
