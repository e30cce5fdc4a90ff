"""Flow: what no longer counts is removed from a root, and its small manifests made few; for a schedule."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import sys
import time

from prefect import flow, task

from codi2_datasets.runtime.progress import progress
from codi2_flows.runtime.record_run import recorded
from codi2_flows.runtime.tasks import LASTING
from codi2_storage.coordination.active_runs import Busy
from codi2_storage.gc.collector import Plan, collect
from codi2_storage.gc.compact import Compacted, compact
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store

ASK_AGAIN = 30.0  # seconds, while a run works on the root


@task(name="compacted", **LASTING)
def compacted(root: str) -> Compacted:
    """Pack the manifests of ingests."""
    return compact(Store(root))


@task(name="collected", **LASTING)
def collected(root: str, policy: Policy, wait: float) -> Plan:
    """Remove what no longer counts; where a run works on the root, try again for `wait` seconds."""
    store, deadline = Store(root), time.monotonic() + wait
    with progress("collect", None, "files") as advance:
        while True:
            try:
                return collect(store, policy, advance=advance)
            except Busy as busy:
                if time.monotonic() + ASK_AGAIN > deadline:
                    raise
                print(f"waiting: {busy}", file=sys.stderr, flush=True)
                time.sleep(ASK_AGAIN)


@flow(name="collect-garbage", validate_parameters=False)
def collect_garbage(
    root: str = "./data", keep: int = 3, models: int = 2, grace_hours: float = 24.0, wait_hours: float = 6.0
) -> dict[str, int]:
    """Compact and collect. Returns how many things went and how many bytes. `wait_hours`: for runs to end, at most."""
    policy = Policy(keep, models, grace_hours * 3600)
    parameters = {"root": Store(root).uri(), "keep": keep, "models": models, "grace_hours": grace_hours}
    with recorded("collect-garbage", root, parameters | {"wait_hours": wait_hours}):
        compacted(root)
        going = collected(root, policy, wait_hours * 3600).going
    return {"removed": len(going), "bytes": sum(item.bytes for item in going)}


if __name__ == "__main__":
    print(collect_garbage())
