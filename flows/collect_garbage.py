"""The flow `collect-garbage`: compacts the manifests of a root, then deletes what retention does not keep."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import sys
import time

from prefect import flow, task

from codi2_datasets.runtime.progress import progress
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_storage.coordination.active_runs import Busy
from codi2_storage.gc.collector import Plan, collect
from codi2_storage.gc.compact import Compacted, compact
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store

RETRY_SECONDS = 30.0  # between two attempts, while a run works on the root


@task(name="compacted manifests", **TASK_OPTIONS)
def compacted_manifests(root: str) -> Compacted:
    """Compact the manifests of ingests."""
    return compact(Store(root))


@task(name="collected garbage", **TASK_OPTIONS)
def collected_garbage(root: str, policy: Policy, wait: float) -> Plan:
    """Delete what retention does not keep. While a run works on the root, retry for at most `wait` seconds."""
    store, deadline = Store(root), time.monotonic() + wait
    with progress("collect", None, "files") as advance:
        while True:
            try:
                return collect(store, policy, advance=advance)
            except Busy as busy:
                if time.monotonic() + RETRY_SECONDS > deadline:
                    raise
                print(f"waiting: {busy}", file=sys.stderr, flush=True)
                time.sleep(RETRY_SECONDS)


@flow(name="collect-garbage", validate_parameters=False)
def collect_garbage(
    root: str = "./data", keep: int = 3, models: int = 2, grace_hours: float = 24.0, wait_hours: float = 6.0
) -> dict[str, int]:
    """Compact and collect garbage. Returns the number of deleted items (`removed`) and their size (`bytes`).

    `keep`: newest builds of each recipe to keep. `models`: promoted models to keep. `grace_hours`: age below which
    unreferenced files stay. `wait_hours`: longest wait for active runs to end.
    """
    policy = Policy(keep, models, grace_hours * 3600)
    parameters = {"root": Store(root).uri(), "keep": keep, "models": models, "grace_hours": grace_hours}
    with record_run("collect-garbage", root, parameters | {"wait_hours": wait_hours}):
        compacted_manifests(root)
        deleted = collected_garbage(root, policy, wait_hours * 3600).going
    return {"removed": len(deleted), "bytes": sum(item.bytes for item in deleted)}


if __name__ == "__main__":
    print(collect_garbage())
