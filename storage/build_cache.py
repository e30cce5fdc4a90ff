"""Build cache: intermediate results of builds, stored by the hash of everything that determines them.

A build reads the results that are stored and writes the others: `cache/<key>/<name>`. Its commit lists the keys that it
used (`info["cached"]`), so that garbage collection keeps the results of the builds that stay and removes all others.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_storage.store import Store

FOLDER = "cache"


class BuildCache:
    """The results of one root. `used`: the keys that were read or written. Without a store, everything is made anew."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        self.used: set[str] = set()

    def blob(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The result with this key, made if it is not stored."""
        return self._take(key, ["data"], lambda: {"data": make()})["data"]

    def tables(self, key: str, names: Sequence[str], make: Callable[[], Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
        """Tables by name, as Parquet; made if one of them is not stored."""
        files = self._take(key, names, lambda: {name: parquet(table) for name, table in make().items()})
        return {name: pq.read_table(io.BytesIO(data)) for name, data in files.items()}

    def _take(self, key: str, names: Sequence[str], make: Callable[[], Mapping[str, bytes]]) -> dict[str, bytes]:
        if self.store is None:
            return dict(make())
        self.used.add(key)
        paths = {name: f"{FOLDER}/{key}/{name}" for name in names}
        try:
            return {name: self.store.read_bytes(path) for name, path in paths.items()}
        except FileNotFoundError:
            files = make()
        for name, path in paths.items():
            self.store.write_bytes(path, files[name])
        return {name: files[name] for name in names}


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()
