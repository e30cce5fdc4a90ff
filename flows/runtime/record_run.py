"""What every flow does around its body: a row in `runs`, a lease that shows that it lives, a stream of logs, an end by signals.

with record_run("build-dataset", root, parameters) as run:
    ...
    run.update(build_id=identity)
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

from codi2_flows.runtime import webhook
from codi2_flows.runtime.broken_pipe_guard import broken_pipe_guard
from codi2_flows.runtime.errors import one_line
from codi2_flows.runtime.logs import log_stream
from codi2_storage.catalog.environment import environment
from codi2_storage.catalog.lineage import code_version
from codi2_storage.catalog.parameters import portable
from codi2_storage.coordination import runs
from codi2_storage.coordination.leases import lease
from codi2_storage.coordination.runs import Run
from codi2_storage.coordination.transient_errors import is_transient
from codi2_storage.host.shutdown import Stopping, stoppable
from codi2_storage.store import Store

log = logging.getLogger("codi2.run")
PAUSES = (1.0, 4.0, 15.0)  # seconds before a row is written again to a store that is away

_current: ContextVar[str | None] = ContextVar("run id", default=None)
_before: ContextVar[int] = ContextVar("attempts before", default=0)


class Running:
    """The run of the body, whose row may be given more columns."""

    def __init__(self, store: Store, run: Run) -> None:
        self.store, self.run = store, run
        self.start = time.monotonic()

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def note(self, **columns: Any) -> None:
        """What the row shall say at the end: build_id, uri, seed, ..."""
        self.run = replace(self.run, **columns)

    def ended(self, status: str, reason: str | None = None) -> None:
        """Write how it ended, a store that is away is asked again; and tell whoever wants to hear of ends that are bad."""
        seconds = round(time.monotonic() - self.start, 1)
        self.run = replace(self.run, status=status, reason=reason, ended_at=now(), seconds=seconds)
        try:
            self._put()
        finally:
            if self.run.parent is None:
                webhook.notify(self.run.kind, self.run_id, status, reason, self.store.uri())

    def _put(self) -> None:
        for pause in (*PAUSES, None):
            try:
                runs.put(self.store, self.run)
                return
            except Exception as error:
                if pause is None or not is_transient(error):
                    raise
                time.sleep(pause)


@contextmanager
def record_run(flow: str, root: str, parameters: dict[str, Any]) -> Iterator[Running]:
    """Record a run of `flow` in the catalog of `root` while the body runs and as it ends.

    Ends as completed, failed (an error), cancelled (a signal); one that is killed is found and called crashed by whoever
    looks next. A run within the body of another is a part of that one.
    """
    store = Store(root)
    parent = _current.get()
    run = begun(store, flow, parameters, parent)
    running = Running(store, run)
    with ExitStack() as stack:
        about = f"run {run.run_id}"
        stack.enter_context(lease(store, runs.PREFIX + run.run_id, about=about, forget=True))
        runs.put(store, run)
        token = _current.set(run.run_id)
        stack.callback(_current.reset, token)
        stack.enter_context(log_stream(store, run.run_id, flow))
        at_last = lambda: running.ended(runs.CANCELLED, "stopped by force")  # noqa: E731
        stopping = stack.enter_context(stoppable(at_last)) if parent is None else Stopping()
        if parent is None:
            stack.enter_context(broken_pipe_guard())
        if parent is None and run.flow_run:
            from codi2_flows.runtime.progress import (
                progress_artifacts,  # Prefect is here, and shall not be where it is not
            )

            stack.enter_context(progress_artifacts())
        log.info("%s started", flow, extra={"fields": {"parameters": run.parameters, "attempt": run.attempt}})
        try:
            yield running
        except BaseException as error:
            status, reason = verdict(error, stopping)
            told = status == runs.FAILED
            log.error("%s %s: %s", flow, status, reason, exc_info=error if told else None)
            try:
                running.ended(status, reason)
            except Exception as other:  # the same full disk, say: the first error is the one to tell
                print(f"run {run.run_id}: its end could not be recorded: {other}", file=sys.stderr)
            raise
        log.info("%s completed", flow, extra={"fields": {"seconds": round(time.monotonic() - running.start, 1)}})
        running.ended(runs.COMPLETED)


@contextmanager
def retry_of(run: Run) -> Iterator[None]:
    """The run that the body starts is one more attempt at what `run` crashed on."""
    token = _before.set(run.attempt)
    try:
        yield
    finally:
        _before.reset(token)


def begun(store: Store, flow: str, parameters: dict[str, Any], parent: str | None) -> Run:
    """The row of a run that starts. Runs of the same flow and parameters that died are marked as crashed, and counted."""
    config = json.dumps(portable(store, parameters), sort_keys=True, default=plain)
    died = [
        marked
        for one in runs.unfinished(store, flow)
        if one.config == config and (marked := runs.mark_crashed(store, one, 0))
    ]
    for one in died:
        if one.parent is None:
            webhook.notify(flow, one.run_id, one.status, one.reason, store.uri())
    moment = datetime.now(UTC)
    return Run(
        run_id=f"{flow}-{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:4]}",
        kind=flow,
        config=config,
        status=runs.RUNNING,
        created_at=moment.isoformat(timespec="microseconds"),
        attempt=1 + max([one.attempt for one in died] + [_before.get() if parent is None else 0]),
        parent=parent,
        flow_run=flow_run_id(),
        seed=parameters.get("seed"),
        workers=parameters.get("workers"),
        environment=environment(),
        code_version=code_version(),
    )


def verdict(error: BaseException, stopping: Stopping) -> tuple[str, str]:
    """(status, reason in one line) of a body that raised."""
    if stopping.signal is not None:
        return runs.CANCELLED, stopping.reason
    if not isinstance(error, (Exception, SystemExit)):
        return runs.CANCELLED, str(error) or type(error).__name__
    return runs.FAILED, f"{type(error).__name__}: {one_line(error)}"[:500]


def flow_run_id() -> str | None:
    """The id that Prefect gave the run; None outside of a flow."""
    if "prefect" not in sys.modules:
        return None
    from prefect.runtime import flow_run

    found = flow_run.get_id()
    return str(found) if found else None


def plain(value: Any) -> Any:
    """Parameters that are dataclasses or sets of values, as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    return str(value)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
