"""One stream of log lines for a run: of Prefect's loggers, of our own progress, of Ray's workers and of training.

`<root>/logs/<run id>.jsonl`, one JSON object a line: time (UTC), level, run, flow, step, message, fields. On a local root a
line is there as soon as it is said; on others the file is put every few seconds and at the end. What the terminal shows
is none of its business and stays as it is.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from codi2_storage.store import Store

FOLDER = "logs"
EVERY = 10.0  # seconds between two puts to a root that is not local
OURS = "codi2"  # the logger that our lines go to; its children are named by what says them
PREFECT = ("prefect.flow_runs", "prefect.task_runs")

current: ContextVar[tuple[str, str] | None] = ContextVar("current run", default=None)
"""(run id, flow) of whoever speaks: a run within a run writes to the same stream under its own id."""


def log_name(run_id: str) -> str:
    return f"{FOLDER}/{run_id}.jsonl"


class Sink(Protocol):
    def write(self, line: bytes) -> None: ...
    def close(self) -> None: ...


class LocalSink:
    """Lines of a local file, each by one write, so that several processes may append."""

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def write(self, line: bytes) -> None:
        os.write(self.file, line)

    def close(self) -> None:
        os.close(self.file)


class Put:
    """Lines kept here and put as a whole, now and then: object stores do not append."""

    def __init__(self, store: Store, name: str, every: float = EVERY) -> None:
        self.store, self.name, self.every = store, name, every
        self.lines: list[bytes] = []
        self.there = 0  # lines that the store has
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._follow, name=f"log {name}", daemon=True)
        self.thread.start()

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def close(self) -> None:
        self.end.set()
        self.thread.join()
        self._put()

    def _follow(self) -> None:
        while not self.end.wait(self.every):
            try:
                self._put()
            except Exception as error:  # the store is away: these lines go with the next put
                print(f"log: not put yet ({type(error).__name__})", file=sys.stderr)

    def _put(self) -> None:
        if (count := len(self.lines)) > self.there:
            self.store.write_bytes(self.name, b"".join(self.lines[:count]))
            self.there = count


class Stream(logging.Handler):
    """Writes records as lines. A line that cannot be written (a full disk) is said once, and never breaks the run."""

    def __init__(self, sink: Sink, run: str, flow: str) -> None:
        super().__init__()
        self.sink, self.run, self.flow = sink, run, flow
        self.broken = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.sink.write(json.dumps(self.line_of(record), ensure_ascii=False, default=str).encode() + b"\n")
        except Exception as error:
            if not self.broken:
                self.broken = True
                print(f"log: lines are lost: {error}", file=sys.stderr)

    def line_of(self, record: logging.LogRecord) -> dict[str, Any]:
        run, flow = current.get() or (self.run, self.flow)  # other threads know of no run within a run
        fields = dict(getattr(record, "fields", None) or {})
        if record.exc_info:
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))
        step = getattr(record, "step", None) or getattr(record, "task_name", None)
        if step is None and not record.name.startswith(PREFECT):
            step = record.name.removeprefix(f"{OURS}.")
        return {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run": getattr(record, "run", None) or run,
            "flow": flow,
            "step": step,
            "message": record.getMessage(),
            "fields": fields,
        }


_streams: list[Stream] = []  # of this process: at most one, the outermost run's


@contextmanager
def log_stream(store: Store, run_id: str, flow: str) -> Iterator[None]:
    """All that is logged in the body goes to the run's stream; within another run's body, to that one's."""
    token = current.set((run_id, flow))
    try:
        if _streams:
            yield
            return
        path = store.local_path(log_name(run_id))
        stream = Stream(LocalSink(path) if path else Put(store, log_name(run_id)), run_id, flow)
        _streams.append(stream)
        try:
            with attached(stream):
                yield
        finally:
            _streams.remove(stream)
            stream.sink.close()
    finally:
        current.reset(token)


@contextmanager
def attached(stream: logging.Handler) -> Iterator[None]:
    """Listen to the root logger (warnings of any library), to ours, and to Prefect's of runs from INFO on."""
    undo: list[Callable[[], None]] = []
    add_handler(logging.getLogger(), stream, undo)
    ours = logging.getLogger(OURS)
    propagate, ours.propagate = ours.propagate, False  # the terminal has our lines already
    undo.append(lambda: setattr(ours, "propagate", propagate))
    add_handler(ours, stream, undo, logging.INFO)
    quieten(undo)
    try:
        yield
    finally:
        for step in reversed(undo):
            step()


def add_handler(
    logger: logging.Logger, stream: logging.Handler, undo: list[Callable[[], None]], level: int = 0
) -> None:
    logger.addHandler(stream)
    undo.append(lambda: logger.removeHandler(stream))
    if level:
        before = logger.level
        logger.setLevel(level)
        undo.append(lambda: logger.setLevel(before))


def quieten(undo: list[Callable[[], None]]) -> None:
    """Let Prefect's loggers of runs speak from INFO on, and keep from the terminal what it did not show before."""
    for name in PREFECT:
        logger = logging.getLogger(name)
        before, shown = logger.level, logger.getEffectiveLevel()
        logger.setLevel(min(shown, logging.INFO))
        undo.append(lambda logger=logger, before=before: logger.setLevel(before))  # type: ignore[misc]

        def keep(record: logging.LogRecord, name: str = name, shown: int = shown) -> bool:
            return record.levelno >= shown or not record.name.startswith(name)

        for handler in [*logging.getLogger().handlers, *logging.getLogger("prefect").handlers]:
            if not isinstance(handler, Stream):
                handler.addFilter(keep)
                undo.append(lambda handler=handler, keep=keep: handler.removeFilter(keep))  # type: ignore[misc]


def read_lines(store: Store, run_id: str, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a run's stream from a byte on, and the byte after them; nothing where there is no stream yet."""
    name = log_name(run_id)
    path = store.local_path(name)
    try:
        if path:
            with open(path, "rb") as file:
                file.seek(start)
                data = file.read()
        else:
            data = store.read_bytes(name)[start:]
    except FileNotFoundError:
        return [], start
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], start + len(whole)
