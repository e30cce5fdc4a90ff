"""Detects, by their leases, the runs that use a root, so that garbage collection never runs beside them.

Both sides take their own lease before they look for the other's: a build takes a lease and then waits for the
collector; the collector takes its lease and then refuses if another one is held. So the two never proceed together.
"""

from __future__ import annotations

import time

from codi2_storage.coordination.leases import FOLDER, TTL, Record, holder, lease
from codi2_storage.store import Store

COLLECTOR = "collector"
# flows that name no new files in the catalog and read none that a collection may remove (compaction has its own lease)
HARMLESS = ("collect-garbage", "compact-catalog", "serve-model", "fetch-media")
OF_RUNS = "run-"
POLL = 1.0


class Busy(RuntimeError):
    """A run uses the root. The message names it; since it is alive, nothing was removed."""


def refuse(store: Store, ttl: float = TTL) -> None:
    """Raise Busy if a live process holds a lease, other than collectors and the flows in `HARMLESS`.

    Holders on other machines are watched for `ttl` seconds: one whose heartbeat does not change in that time is dead.
    """
    suspects = held(store)
    deadline = time.monotonic() + ttl
    while suspects:
        now = held(store)
        for name, record in suspects.items():
            beats = name in now and (now[name].token, now[name].beat) != (record.token, record.beat)
            if record.alive(store) or beats:
                raise Busy(
                    f"{store.root}: {record.describe()} works on it: nothing was removed; try again when that is done"
                )
        if time.monotonic() >= deadline:
            return
        suspects = {name: record for name, record in suspects.items() if name in now}
        time.sleep(min(POLL, ttl / 5))


def held(store: Store) -> dict[str, Record]:
    """The leases that block a collection: not released, and held by processes that may be alive."""
    names = {file.name.removeprefix(f"{FOLDER}/").rpartition("/")[0] for file in store.files(FOLDER)}
    holders = {name: record for name in sorted(names) if not harmless(name) and (record := holder(store, name))}
    return {name: record for name, record in holders.items() if not record.over}


def harmless(name: str) -> bool:
    return name == COLLECTOR or name.startswith(tuple(f"{OF_RUNS}{flow}-" for flow in HARMLESS))


def wait_for_collector(store: Store) -> None:
    """Wait for a running garbage collection to end.

    Call it while holding a lease, and before reading what the root holds.
    """
    collector = holder(store, COLLECTOR)
    if collector is not None and not collector.over:
        with lease(store, COLLECTOR, about="a run that waits for the collection"):
            pass
