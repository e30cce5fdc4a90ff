"""The model that a replica holds, changed for another while requests are answered. Knows no Ray.

    prepare: the new one is loaded beside the old    take: new requests go to it    the old one goes after its last reply

Each model has a pipeline of its own, so nothing that one has read (a session's cache) is ever used by the other.
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
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class ServedModel:
    """A model as a server knows it: where it lies, its name, and the names of those it took over from."""

    checkpoint: str
    """Folder or URI."""
    model_id: str
    before: tuple[str, ...] = ()

    def to_config(self) -> dict[str, Any]:
        """As Ray Serve hands it to replicas."""
        return {**asdict(self), "before": list(self.before)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ServedModel:
        return cls(config["checkpoint"], config["model_id"], tuple(config.get("before", ())))

    def folder(self) -> str:
        """The checkpoint on this machine. Raises FileNotFoundError where there is none."""
        return str(checkpoint_folder(local_copy(self.checkpoint)))


class SwappablePipeline(Protocol):
    """What `HotSwapModel` needs of a pipeline."""

    draining: bool

    @property
    def under_way(self) -> int: ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]: ...

    def numbers(self) -> dict[str, float]: ...

    def close(self) -> None: ...


class HotSwapModel:
    """One pipeline that answers, and for a while those that it took over from. All but `make` runs on one event loop."""

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
        """Load a model beside the one that answers. Raises whatever keeps it from loading; nothing has changed then."""
        if not self._has(served):
            await self.discard()
            self._prepared = served, await asyncio.to_thread(self.make, served)

    async def discard(self) -> None:
        """Free what was prepared and is not wanted."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await asyncio.to_thread(free, [prepared[1]])

    async def take(self, served: ServedModel) -> None:
        """From now on requests are answered by this model. Raises where none can be loaded and none is there to go on with;
        where one is, it goes on, and the log says why."""
        if self.served is not None and self.served.checkpoint == served.checkpoint:
            self.served = served
            return
        try:
            await self.prepare(served)
        except Exception:
            if self._present is None:
                raise
            log.exception(
                "%s cannot be loaded; going on with %s", served.model_id, self.served and self.served.model_id
            )
            return
        assert self._prepared is not None
        old, self._present, self.served = self._present, self._prepared[1], served
        self._prepared = None
        if old is not None:
            self._retiring.append(old)
            task = asyncio.ensure_future(self._retire(old))
            self._tasks.add(task)  # a loop holds its tasks weakly
            task.add_done_callback(self._tasks.discard)

    def _has(self, served: ServedModel) -> bool:
        return self._prepared is not None and self._prepared[0].checkpoint == served.checkpoint

    async def _retire(self, old: SwappablePipeline) -> None:
        while old.under_way:
            await asyncio.sleep(LOOK_SECONDS)
        self._retiring.remove(old)
        held = [old]
        del old
        await asyncio.to_thread(free, held)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        """The events of a reply, which one model makes from end to end; the first names it."""
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
        """Of the model that answers; what is under way counts those that others are still at."""
        others = self._retiring
        found = dict(self.present.numbers())
        found["requests_under_way"] += sum(other.under_way for other in others)
        found["models"] = 1 + len(others) + (self._prepared is not None)
        return found

    async def ready(self) -> bool:
        return not self.present.draining

    async def drain(self) -> None:
        """Take on nothing more, and wait until what is under way is answered, or for as long as `drain_s`."""
        all_of_them = [self.present, *self._retiring]
        for pipeline in all_of_them:
            pipeline.draining = True
        end = time.monotonic() + self.drain_s
        while any(pipeline.under_way for pipeline in all_of_them) and time.monotonic() < end:
            await asyncio.sleep(0.05)


T = TypeVar("T")


class ModelCache(Generic[T]):
    """Models by their checkpoints, for a decoder that others send features to: those of the old model come for as long
    as a request may take."""

    def __init__(self, load: Callable[[ServedModel], T], keep_s: float) -> None:
        self.load, self.keep_s = load, keep_s
        self._models: dict[str, T] = {}
        self._loading = threading.Lock()
        self.present: str | None = None

    def __len__(self) -> int:
        return len(self._models)

    def get(self, served: ServedModel) -> T:
        """The model, loaded where it is not there yet."""
        with self._loading:
            if served.checkpoint not in self._models:
                self._models[served.checkpoint] = self.load(served)
            return self._models[served.checkpoint]

    async def take(self, served: ServedModel) -> None:
        """Have it, and let the others go in `keep_s` seconds. Raises where it is the first and cannot be loaded."""
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
        """Free all but the present one."""
        with self._loading:
            gone = [self._models.pop(name) for name in list(self._models) if name != self.present]
        if gone:
            threading.Thread(target=free, args=(gone,), name="codi2-free").start()


def free(models: list[Any]) -> None:
    """Give the memory of models back to the system. The list is emptied: nobody else may hold what is in it."""
    while models:
        end(models.pop())
    gc.unfreeze()  # Ray Serve sets apart what was there as a replica came up, the first model with it
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc, which else keeps it for itself
    if trim is not None:
        trim(0)


def end(model: Any) -> None:
    if hasattr(model, "close"):
        model.close()


def known_names(served: Sequence[str], model_id: str, most: int = 16) -> tuple[str, ...]:
    """The names that clients may still call the next model by, the latest last."""
    return tuple(dict.fromkeys([*served, model_id]))[-most:]
