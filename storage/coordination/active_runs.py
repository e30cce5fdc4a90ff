"""Who works on a root at this moment, told by leases: what a collection must not run beside.

Both sides raise their own flag before they look for the other's: whoever builds holds a lease and then waits for the
collector; the collector holds its lease and then refuses where another is held. So never do both go on.
"""

from __future__ import annotations

import time

from codi2_storage.coordination.leases import FOLDER, TTL, Record, holder, lease
from codi2_storage.store import Store

COLLECTOR = "collector"
# flows that name no file of the catalog which was not there before, and read none that a collection may take
HARMLESS = ("collect-garbage", "compact-catalog", "serve-model", "fetch-media")
OF_RUNS = "run-"
POLL = 1.0


class Busy(RuntimeError):
    """A run works on the root: the message says which, and since it lives, nothing was removed."""


def refuse(store: Store, ttl: float = TTL) -> None:
    """Raise Busy where anyone but collectors and the harmless holds a lease and lives. Those on other machines are watched
    for as long as a lease lasts: one whose beat stands still is dead."""
    suspects = held(store)
    deadline = time.monotonic() + ttl
    while suspects:
        now = held(store)
        for name, record in suspects.items():
            beats = name in now and (now[name].token, now[name].beat) != (record.token, record.beat)
            if record.alive(store) or beats:
                raise Busy(
                    f"{store.root}: {record.told()} works on it: nothing was removed; try again when that is done"
                )
        if time.monotonic() >= deadline:
            return
        suspects = {name: record for name, record in suspects.items() if name in now}
        time.sleep(min(POLL, ttl / 5))


def held(store: Store) -> dict[str, Record]:
    """The leases that were not released, by holders that may live, whatever keeps a collection from running."""
    names = {file.name.removeprefix(f"{FOLDER}/").rpartition("/")[0] for file in store.files(FOLDER)}
    found = {name: record for name in sorted(names) if not harmless(name) and (record := holder(store, name))}
    return {name: record for name, record in found.items() if not record.over}


def harmless(name: str) -> bool:
    return name == COLLECTOR or name.startswith(tuple(f"{OF_RUNS}{flow}-" for flow in HARMLESS))


def wait_for_collector(store: Store) -> None:
    """Let a collection that runs come to its end. To be called by whoever holds a lease, before he looks at what is there."""
    collector = holder(store, COLLECTOR)
    if collector is not None and not collector.over:
        with lease(store, COLLECTOR, about="a run that waits for the collection"):
            pass
