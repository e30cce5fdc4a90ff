"""Recording of a flow run: a row in the table `runs`, a lease with a heartbeat, a log stream, and handling of signals.

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
from codi2_storage.coordination import runs
from codi2_storage.coordination.leases import lease
from codi2_storage.coordination.run_parameters import portable
from codi2_storage.coordination.runs import Run
from codi2_storage.coordination.transient_errors import is_transient
from codi2_storage.host.shutdown import Stopping, stoppable
from codi2_storage.store import Store

log = logging.getLogger("codi2.run")
PAUSES = (1.0, 4.0, 15.0)  # seconds between attempts to write a row after transient errors

_current: ContextVar[str | None] = ContextVar("run id", default=None)
_previous_attempts: ContextVar[int] = ContextVar("previous attempts", default=0)


class RecordedRun:
    """The run of the body. `update` sets columns of its row."""

    def __init__(self, store: Store, run: Run) -> None:
        self.store, self.run = store, run
        self.start = time.monotonic()

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def update(self, **columns: Any) -> None:
        """Set columns that are written at the end: build_id, uri, seed, ..."""
        self.run = replace(self.run, **columns)

    def finish(self, status: str, reason: str | None = None) -> None:
        """Write the final row, retrying transient errors, and notify the webhook of a bad end."""
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
def record_run(flow: str, root: str, parameters: dict[str, Any]) -> Iterator[RecordedRun]:
    """Record a run of `flow` in the catalog of `root`, from the start of the body to its end.

    The final status is completed, failed (an error) or cancelled (a signal). A killed run is marked as crashed by the
    next process that finds it. A run within the body of another one is recorded as a part of that one.
    """
    store = Store(root)
    parent = _current.get()
    run = new_run(store, flow, parameters, parent)
    recorded = RecordedRun(store, run)
    with ExitStack() as stack:
        about = f"run {run.run_id}"
        stack.enter_context(lease(store, runs.PREFIX + run.run_id, about=about, forget=True))
        runs.put(store, run)
        token = _current.set(run.run_id)
        stack.callback(_current.reset, token)
        stack.enter_context(log_stream(store, run.run_id, flow))
        on_forced_stop = lambda: recorded.finish(runs.CANCELLED, "stopped by force")  # noqa: E731
        stopping = stack.enter_context(stoppable(on_forced_stop)) if parent is None else Stopping()
        if parent is None:
            stack.enter_context(broken_pipe_guard())
        if parent is None and run.flow_run:
            from codi2_flows.runtime.progress import progress_artifacts  # imports Prefect, which only flows need

            stack.enter_context(progress_artifacts())
        log.info("%s started", flow, extra={"fields": {"parameters": run.parameters, "attempt": run.attempt}})
        try:
            yield recorded
        except BaseException as error:
            status, reason = status_and_reason(error, stopping)
            with_trace = status == runs.FAILED
            log.error("%s %s: %s", flow, status, reason, exc_info=error if with_trace else None)
            try:
                recorded.finish(status, reason)
            except Exception as other:  # for example the same full disk: the first error is the one to raise
                print(f"run {run.run_id}: the end of the run could not be recorded: {other}", file=sys.stderr)
            raise
        log.info("%s completed", flow, extra={"fields": {"seconds": round(time.monotonic() - recorded.start, 1)}})
        recorded.finish(runs.COMPLETED)


@contextmanager
def retry_of(run: Run) -> Iterator[None]:
    """Count the run that the body starts as the next attempt of `run`, which crashed."""
    token = _previous_attempts.set(run.attempt)
    try:
        yield
    finally:
        _previous_attempts.reset(token)


def new_run(store: Store, flow: str, parameters: dict[str, Any], parent: str | None) -> Run:
    """The first row of a run. Dead runs of the same flow and parameters are marked as crashed and count as attempts."""
    config = json.dumps(portable(store, parameters), sort_keys=True, default=json_value)
    crashed = [
        marked
        for run in runs.unfinished(store, flow)
        if run.config == config and (marked := runs.mark_crashed(store, run, 0))
    ]
    for run in crashed:
        if run.parent is None:
            webhook.notify(flow, run.run_id, run.status, run.reason, store.uri())
    moment = datetime.now(UTC)
    return Run(
        run_id=f"{flow}-{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:4]}",
        kind=flow,
        config=config,
        status=runs.RUNNING,
        created_at=moment.isoformat(timespec="microseconds"),
        attempt=1 + max([run.attempt for run in crashed] + [_previous_attempts.get() if parent is None else 0]),
        parent=parent,
        flow_run=flow_run_id(),
        seed=parameters.get("seed"),
        workers=parameters.get("workers"),
        environment=environment(),
        code_version=code_version(),
    )


def status_and_reason(error: BaseException, stopping: Stopping) -> tuple[str, str]:
    """Status and one-line reason of a body that raised."""
    if stopping.signal is not None:
        return runs.CANCELLED, stopping.reason
    if not isinstance(error, (Exception, SystemExit)):
        return runs.CANCELLED, str(error) or type(error).__name__
    return runs.FAILED, f"{type(error).__name__}: {one_line(error)}"[:500]


def flow_run_id() -> str | None:
    """Prefect's id of the flow run; None outside of a flow."""
    if "prefect" not in sys.modules:
        return None
    from prefect.runtime import flow_run

    identity = flow_run.get_id()
    return str(identity) if identity else None


def json_value(value: Any) -> Any:
    """A parameter that JSON does not support: a dataclass, set or tuple as dict or list, anything else as a string."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    return str(value)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
