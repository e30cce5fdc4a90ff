"""A replica's model changed for another under its requests: real pipelines, no Ray."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.openai.chat_response import Accepted, Finished, ServerEvent
from codi2_model.serving.openai.protocol import ChatRequest, Settings
from codi2_model.serving.scheduler.engine import Engine
from codi2_model.serving.scheduler.hot_swap import HotSwapModel, ModelCache, ServedModel, known_names
from codi2_model.serving.scheduler.pipeline import Pipeline

Named = list[tuple[str, Path]]


def made(served: ServedModel) -> Pipeline:
    return Pipeline(Engine(served.folder(), served.model_id, threads=1), ServerSettings(workers=1))


def asking(session: str | None = None, steps: int = 2) -> ChatRequest:
    messages = [{"role": "user", "content": [{"type": "text", "text": "Draw a red apple."}]}]
    settings: Any = Settings(modalities=("image",), required="image", steps=steps, max_tokens=4, seed=1)
    return ChatRequest(messages, settings, session=session, marks=("m",) if session else ())


async def rest(events: AsyncGenerator[ServerEvent, None]) -> Finished:
    last = [event async for event in events][-1]
    assert isinstance(last, Finished)
    return last


def test_what_is_under_way_ends_with_the_old_model_and_what_comes_goes_to_the_new(models: Named, broken: Path) -> None:
    (a, first), (b, second), _ = models

    async def story() -> None:
        holding = HotSwapModel(made)
        await holding.take(ServedModel(str(first), a))
        old = weakref.ref(holding.present.engine.model)  # type: ignore[attr-defined]
        kept = holding.stream(asking("talk"))
        assert await anext(kept) == Accepted(a)
        await rest(kept)
        under_way = holding.stream(asking(steps=40))
        assert await anext(under_way) == Accepted(a)
        await anext(under_way)  # it has begun
        with pytest.raises(Exception, match=r"(?i)safetensor|incomplete|deserializ"):
            await holding.prepare(ServedModel(str(broken), "broken"))
        await holding.take(ServedModel(str(broken), "broken"))
        assert holding.served == ServedModel(str(first), a)  # goes on with what it has
        await holding.prepare(ServedModel(str(second), b))
        assert holding.numbers()["models"] == 2
        await holding.take(ServedModel(str(second), b, (a,)))
        assert len(holding.present.sessions) == 0  # type: ignore[attr-defined]  # what the old one has read is its own
        new = holding.stream(asking("talk"))
        assert await anext(new) == Accepted(b)
        assert (await rest(new)).cached_tokens == 0
        assert holding.numbers()["models"] == 2 and old() is not None
        await rest(under_way)
        for _ in range(100):
            if holding.numbers()["models"] == 1 and old() is None:
                break
            await asyncio.sleep(0.1)
        assert holding.numbers()["models"] == 1 and old() is None
        await holding.drain()
        assert not await holding.ready()
        holding.present.close()

    asyncio.run(story())
    gc.collect()


def test_the_first_model_must_load(broken: Path) -> None:
    async def story() -> None:
        with pytest.raises(Exception, match=r"(?i)safetensor|incomplete|deserializ"):
            await HotSwapModel(made).take(ServedModel(str(broken), "broken"))

    asyncio.run(story())


def test_a_decoder_keeps_the_old_model_for_as_long_as_a_request_may_take() -> None:
    async def story() -> None:
        found = ModelCache(lambda served: [served.model_id], keep_s=0.2)
        old, new = ServedModel("/a", "a"), ServedModel("/b", "b")
        await found.take(old)
        await found.take(new)
        assert found.get(old) == ["a"] and len(found) == 2
        await asyncio.sleep(0.5)
        assert len(found) == 1 and found.present == "/b"

    asyncio.run(story())


def test_a_model_answers_to_the_names_it_took_over_from_the_last_sixteen() -> None:
    names: tuple[str, ...] = ()
    for n in range(20):
        names = known_names(names, f"m{n}")
    assert names == tuple(f"m{n}" for n in range(4, 20))
    assert known_names(("a", "b"), "a") == ("a", "b")
    assert ServedModel.from_config(ServedModel("/a", "a", names).to_config()) == ServedModel("/a", "a", names)
