"""The log stream of a run: records of Prefect, progress, Ray workers and training in one JSONL file.

The file is `<root>/logs/<run id>.jsonl`. Each line is a JSON object: time (UTC), level, run, flow, step, message, fields. On
a local root every record is appended at once; on an object store the file is uploaded every few seconds and at the end.
The output of the terminal does not change.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from codi2_storage.store import Store

FOLDER = "logs"
TAIL = 64 * 1024  # bytes that `last_lines` reads
UPLOAD_SECONDS = 10.0  # between two uploads to an object store
LOGGER = "codi2"  # parent of the project's loggers
PREFECT_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")

current: ContextVar[tuple[str, str] | None] = ContextVar("current run", default=None)
"""(run id, flow) of the current run. A nested run writes to the stream of the outer one under its own id."""


def log_name(run_id: str) -> str:
    return f"{FOLDER}/{run_id}.jsonl"


class Sink(Protocol):
    """Destination of log lines."""

    def write(self, line: bytes) -> None: ...
    def close(self) -> None: ...


class LocalSink:
    """A local file. Each line is one write, so that several processes can append."""

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def write(self, line: bytes) -> None:
        os.write(self.file, line)

    def close(self) -> None:
        os.close(self.file)


class UploadSink:
    """A file of an object store, which cannot append: lines are kept in memory and the whole file is uploaded at intervals."""

    def __init__(self, store: Store, name: str, every: float = UPLOAD_SECONDS) -> None:
        self.store, self.name, self.every = store, name, every
        self.lines: list[bytes] = []
        self.uploaded = 0  # number of lines
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._upload_regularly, name=f"log {name}", daemon=True)
        self.thread.start()

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def close(self) -> None:
        self.end.set()
        self.thread.join()
        self._upload()

    def _upload_regularly(self) -> None:
        while not self.end.wait(self.every):
            try:
                self._upload()
            except Exception as error:  # the next upload includes these lines
                print(f"log {self.name}: upload failed ({type(error).__name__}), will retry", file=sys.stderr)

    def _upload(self) -> None:
        if (count := len(self.lines)) > self.uploaded:
            self.store.write_bytes(self.name, b"".join(self.lines[:count]))
            self.uploaded = count


class StreamHandler(logging.Handler):
    """Writes log records as JSON lines. The first failed write (for example a full disk) prints a warning."""

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
                print(f"log of run {self.run}: lines are lost: {error}", file=sys.stderr)

    def line_of(self, record: logging.LogRecord) -> dict[str, Any]:
        run, flow = current.get() or (self.run, self.flow)  # the context variable is unset in other threads
        fields = dict(getattr(record, "fields", None) or {})
        if record.exc_info:
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))
        step = getattr(record, "step", None) or getattr(record, "task_name", None)
        if step is None and not record.name.startswith(PREFECT_LOGGERS):
            step = record.name.removeprefix(f"{LOGGER}.")
        return {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run": getattr(record, "run", None) or run,
            "flow": flow,
            "step": step,
            "message": record.getMessage(),
            "fields": fields,
        }


_streams: list[StreamHandler] = []  # at most one in a process: that of the outermost run


@contextmanager
def log_stream(store: Store, run_id: str, flow: str) -> Iterator[None]:
    """Write all log records of the body to the stream of the run, or of the outer run if there is one."""
    token = current.set((run_id, flow))
    try:
        if _streams:
            yield
            return
        path = store.local_path(log_name(run_id))
        stream = StreamHandler(LocalSink(path) if path else UploadSink(store, log_name(run_id)), run_id, flow)
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
    """Attach the handler to the root logger (warnings of any library), and from INFO on to `codi2` and Prefect's runs."""
    undo: list[Callable[[], None]] = []
    add_handler(logging.getLogger(), stream, undo)
    logger = logging.getLogger(LOGGER)
    propagate, logger.propagate = logger.propagate, False  # these records are on the terminal already
    undo.append(lambda: setattr(logger, "propagate", propagate))
    add_handler(logger, stream, undo, logging.INFO)
    enable_prefect_info(undo)
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


def enable_prefect_info(undo: list[Callable[[], None]]) -> None:
    """Set Prefect's run loggers to INFO, with filters that leave the terminal at its former level."""
    for name in PREFECT_LOGGERS:
        logger = logging.getLogger(name)
        before, terminal_level = logger.level, logger.getEffectiveLevel()
        logger.setLevel(min(terminal_level, logging.INFO))
        undo.append(lambda logger=logger, before=before: logger.setLevel(before))  # type: ignore[misc]

        def keep(record: logging.LogRecord, name: str = name, terminal_level: int = terminal_level) -> bool:
            return record.levelno >= terminal_level or not record.name.startswith(name)

        for handler in [*logging.getLogger().handlers, *logging.getLogger("prefect").handlers]:
            if not isinstance(handler, StreamHandler):
                handler.addFilter(keep)
                undo.append(lambda handler=handler, keep=keep: handler.removeFilter(keep))  # type: ignore[misc]


def last_lines(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The last lines of a run's stream, earliest first. Empty if it does not exist."""
    name = log_name(run_id)
    if not store.exists(name):
        return []
    lines = []
    for text in bytes(store.fs.cat_file(store.path(name), start=-TAIL)).splitlines():
        with suppress(ValueError):  # cut at the start, or being written at the end
            lines.append(json.loads(text))
    return lines


def read_lines(store: Store, run_id: str, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The complete lines of a run's stream from byte `start` on, and the position after them.

    Returns no lines if the stream does not exist yet.
    """
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
