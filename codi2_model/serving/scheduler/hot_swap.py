"""Hot swap: replaces the model of a replica while requests are answered. Does not import Ray.

    prepare: load the new model beside the old one
    take:    send new requests to it; the old model is freed after its last reply

Each model has its own pipeline, so that nothing of one model (a session's cache) is used by the other.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

from codi2_model.checkpoints.registry import checkpoint_folder, local_copy
from codi2_model.serving.openai.chat_response import Accepted, ServerEvent
from codi2_model.serving.openai.protocol import ChatRequest

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1
MOST_NAMES = 16  # former names that a model still answers to


@dataclass(frozen=True)
class ServedModel:
    """A served model: its checkpoint, its name, and the names of the models that it replaced (`before`)."""

    checkpoint: str
    """Folder or URI."""
    model_id: str
    before: tuple[str, ...] = ()

    def to_config(self) -> dict[str, Any]:
        """The `user_config` of Ray Serve."""
        return {**asdict(self), "before": list(self.before)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ServedModel:
        return cls(config["checkpoint"], config["model_id"], tuple(config.get("before", ())))

    def folder(self) -> str:
        """The local folder of the checkpoint. Raises FileNotFoundError if there is none."""
        return str(checkpoint_folder(local_copy(self.checkpoint)))


class SwappablePipeline(Protocol):
    """The interface of a pipeline that `HotSwapModel` uses."""

    draining: bool

    @property
    def under_way(self) -> int: ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]: ...

    def numbers(self) -> dict[str, float]: ...

    def close(self) -> None: ...


class HotSwapModel:
    """The pipeline of the current model, and for a while those of replaced models.

    All methods run on one event loop; only `make` runs in a thread.
    """

    def __init__(self, make: Callable[[ServedModel], SwappablePipeline], drain_s: float = 60.0) -> None:
        self.make, self.drain_s = make, drain_s
        self.served: ServedModel | None = None
        self._present: SwappablePipeline | None = None
        self._prepared: tuple[ServedModel, SwappablePipeline] | None = None
        self._retiring: list[SwappablePipeline] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def present(self) -> SwappablePipeline:
        if self._present is None:
            raise RuntimeError("no model is loaded yet")
        return self._present

    async def prepare(self, served: ServedModel) -> None:
        """Load a model beside the current one. If loading fails, the error is raised and nothing changes."""
        if not self._has(served):
            await self.discard()
            self._prepared = served, await asyncio.to_thread(self.make, served)

    async def discard(self) -> None:
        """Free a prepared model that is not used."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await asyncio.to_thread(free, [prepared[1]])

    async def take(self, served: ServedModel) -> None:
        """Switch to the model.

        If it cannot be loaded, the current model stays and the error is logged; without a current model it is raised.
        """
        if self.served is not None and self.served.checkpoint == served.checkpoint:
            self.served = served
            return
        try:
            await self.prepare(served)
        except Exception:
            if self._present is None:
                raise
            log.exception(
                "%s cannot be loaded; still serving %s", served.model_id, self.served and self.served.model_id
            )
            return
        assert self._prepared is not None
        old, self._present, self.served = self._present, self._prepared[1], served
        self._prepared = None
        if old is not None:
            self._retiring.append(old)
            task = asyncio.ensure_future(self._retire(old))
            self._tasks.add(task)  # the event loop has only weak references to tasks
            task.add_done_callback(self._tasks.discard)

    def _has(self, served: ServedModel) -> bool:
        return self._prepared is not None and self._prepared[0].checkpoint == served.checkpoint

    async def _retire(self, old: SwappablePipeline) -> None:
        while old.under_way:
            await asyncio.sleep(POLL_SECONDS)
        self._retiring.remove(old)
        to_free = [old]
        del old  # the list must have the last reference
        await asyncio.to_thread(free, to_free)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        """The events of a reply, all from one model. The first event names the model."""
        present, served = self.present, self.served
        events = present.stream(request)
        try:
            if served is not None:
                yield Accepted(served.model_id)
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def numbers(self) -> dict[str, float]:
        """The metrics of the current model. Active requests include those of replaced models."""
        others = self._retiring
        numbers = dict(self.present.numbers())
        numbers["requests_under_way"] += sum(other.under_way for other in others)
        numbers["models"] = 1 + len(others) + (self._prepared is not None)
        return numbers

    async def ready(self) -> bool:
        return not self.present.draining

    async def drain(self) -> None:
        """Refuse new requests, and wait until the active ones are answered, at most `drain_s` seconds."""
        pipelines = [self.present, *self._retiring]
        for pipeline in pipelines:
            pipeline.draining = True
        end = time.monotonic() + self.drain_s
        while any(pipeline.under_way for pipeline in pipelines) and time.monotonic() < end:
            await asyncio.sleep(0.05)


T = TypeVar("T")


class ModelCache(Generic[T]):
    """Models by checkpoint, for a decoder deployment.

    Replicas may send features of a replaced model for as long as a request takes, so it is kept for `keep_s` seconds.
    """

    def __init__(self, load: Callable[[ServedModel], T], keep_s: float) -> None:
        self.load, self.keep_s = load, keep_s
        self._models: dict[str, T] = {}
        self._loading = threading.Lock()
        self.present: str | None = None

    def __len__(self) -> int:
        return len(self._models)

    def get(self, served: ServedModel) -> T:
        """The model, loaded on first use."""
        with self._loading:
            if served.checkpoint not in self._models:
                self._models[served.checkpoint] = self.load(served)
            return self._models[served.checkpoint]

    async def take(self, served: ServedModel) -> None:
        """Load the model, and free the others after `keep_s` seconds. Raises if the first model cannot be loaded."""
        try:
            await asyncio.to_thread(self.get, served)
        except Exception:
            if self.present is None:
                raise
            log.exception("%s cannot be loaded", served.model_id)
            return
        self.present = served.checkpoint
        asyncio.get_running_loop().call_later(self.keep_s, self.discard)

    def discard(self) -> None:
        """Free all models but the current one."""
        with self._loading:
            gone = [self._models.pop(name) for name in list(self._models) if name != self.present]
        if gone:
            threading.Thread(target=free, args=(gone,), name="codi2-free").start()


def free(models: list[Any]) -> None:
    """Return the memory of models to the system. The list, which is emptied, must have the last references to them."""
    while models:
        close(models.pop())
    gc.unfreeze()  # Ray Serve freezes the objects of a replica's start, including the first model
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc would keep the memory otherwise
    if trim is not None:
        trim(0)


def close(model: Any) -> None:
    if hasattr(model, "close"):
        model.close()


def known_names(served: Sequence[str], model_id: str) -> tuple[str, ...]:
    """Former names by which clients may still request the next model, latest last."""
    return tuple(dict.fromkeys([*served, model_id]))[-MOST_NAMES:]
