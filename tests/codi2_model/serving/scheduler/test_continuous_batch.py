"""Turns join and leave the batch that is being written: each gets what it would get alone, and waits for no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from codi2_model.generation.decode_loop import Reply, ReplyMedium
from codi2_model.serving.openai.chat_response import Failed, Finished, ServerEvent
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest, Settings
from codi2_model.serving.scheduler.active_requests import ActiveRequest, penalised
from codi2_model.serving.scheduler.continuous_batch import ContinuousBatch
from codi2_model.serving.scheduler.decode_requests import DecodeJob, run_jobs
from codi2_model.serving.scheduler.stage import Stage


def asking(text: str, session: str | None = None, value: Any = None, **settings: Any) -> ChatRequest:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if value is not None:
        content.append({"type": "image", "value": value})
    chosen = Settings(**{"modalities": ("text",), "max_tokens": 24, "temperature": 1.5, "steps": 2, **settings})
    return ChatRequest([{"role": "user", "content": content}], chosen, session=session, marks=(text,))


class Told:
    """A turn and what it was told."""

    def __init__(self, request: ChatRequest) -> None:
        self.events: list[ServerEvent] = []
        self.turn = ActiveRequest(request, self.events.append)

    @property
    def content(self) -> list[dict[str, Any]]:
        return self.turn.builder.content


def write(engine: Any, first: list[Told], later: dict[int, list[Told]] | None = None, each: Any = None) -> int:
    """Write turns, and those of `later` from the step that they come at. The steps it took."""
    step, jobs, waiting = 0, list[DecodeJob](), dict(later or {})

    def more(written: int) -> list[ActiveRequest]:
        nonlocal step
        step += 1
        if each is not None:
            each(step)
        return [told.turn for told in waiting.pop(step, [])]

    engine.write([told.turn for told in first], jobs.append, more)
    for job in jobs:
        run_jobs(engine.model, [job])
    return step


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    if [part["type"] for part in one] != [part["type"] for part in other]:
        return False
    for mine, theirs in zip(one, other, strict=True):
        if mine["type"] == "text" and mine["text"] != theirs["text"]:
            return False
        if mine["type"] == "image":
            difference = np.asarray(mine["value"]).astype(int) - np.asarray(theirs["value"])
            if np.abs(difference).max() > 1:  # rounding of batched sums
                return False
    return True


REQUESTS: list[Callable[[], ChatRequest]] = [
    lambda: asking("Tell me a long story.", seed=1),
    lambda: asking("Draw a red apple in the flat style, please.", seed=2, modalities=("image",)),
    lambda: asking("What?", seed=3, max_tokens=5),
    lambda: asking("Draw a leaf and tell of it.", seed=4, modalities=("text", "image"), required="image"),
]


def test_a_turn_that_joins_gets_what_it_would_get_alone(engine: Any) -> None:
    alone = [Told(make()) for make in REQUESTS]
    for told in alone:
        write(engine, [told])
    joined = [Told(make()) for make in REQUESTS]
    write(engine, joined[:1], {3: joined[1:2], 4: joined[2:3], 9: joined[3:]})
    for one, other in zip(alone, joined, strict=True):
        assert isinstance(other.events[-1], Finished) and same(one.content, other.content)


def test_the_batch_takes_no_longer_than_its_longest_and_a_short_turn_ends_first(engine: Any) -> None:
    long, short = Told(REQUESTS[0]()), Told(REQUESTS[2]())
    ended: list[int] = []
    steps = write(engine, [long], {2: [short]}, lambda step: ended.append(step) if short.turn.ended else None)
    assert ended[0] < 12 < steps <= 26 and long.turn.ended


def test_a_turn_given_up_leaves_and_the_others_go_on(engine: Any) -> None:
    given_up, other = Told(REQUESTS[0]()), Told(REQUESTS[0]())
    before = Told(REQUESTS[0]())
    write(engine, [before])
    write(engine, [given_up, other], each=lambda step: given_up.turn.cancel() if step == 3 else None)
    assert not any(isinstance(event, Finished) for event in given_up.events)
    assert same(before.content, other.content)
    assert write(engine, [told := Told(REQUESTS[0]())], each=lambda step: told.turn.cancel()) <= 2


def test_a_turn_at_fault_fails_alone(engine: Any) -> None:
    good, bad, long = Told(REQUESTS[2]()), Told(asking("x", value="no picture")), Told(asking("word " * 400))
    write(engine, [good, bad, long])
    assert isinstance(good.events[-1], Finished)
    assert all(isinstance(told.events[-1], Failed) for told in (bad, long))


def test_a_reply_that_cannot_be_written_on_ends_alone(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from codi2_model.serving.scheduler.active_requests import RowWriter

    broken, other, alone = (Told(REQUESTS[0]()) for _ in range(3))
    write(engine, [alone])
    take = RowWriter.take

    def fails(self: RowWriter, reply: Any, *rest: Any) -> Any:
        if reply is self.replies[0] and len(self.replies) == 2 and reply.text_tokens == 3:
            raise RuntimeError("inside")
        return take(self, reply, *rest)

    monkeypatch.setattr(RowWriter, "take", fails)
    write(engine, [broken, other])
    end = broken.events[-1]
    assert isinstance(end, Failed) and end.error.status == 500 and "inside" not in str(end.error)
    assert same(other.content, alone.content)


def test_a_failure_of_the_model_ends_every_turn_that_it_concerns(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, joining = Told(REQUESTS[0]()), Told(REQUESTS[0]())

    def break_it(step: int) -> None:
        if step == 3:
            monkeypatch.setattr(engine.model.llm, "forward", None)
            monkeypatch.setattr(engine.model.llm.model, "forward", None)

    with pytest.raises(TypeError):
        write(engine, [first], {3: [joining]}, break_it)
    assert isinstance(first.events[-1], Failed) and isinstance(joining.events[-1], Failed)


def test_a_session_s_turns_join_others_and_still_read_only_what_is_new(engine: Any) -> None:
    from codi2_model.serving.scheduler.sessions import Sessions

    def turn(session: Any, said: list[tuple[str, str]], seed: int) -> Told:
        messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]
        chosen = Settings(modalities=("text",), max_tokens=8, temperature=1.5, seed=seed)
        told = Told(ChatRequest(messages, chosen, session="a", marks=tuple(f"{role} {text}" for role, text in said)))
        told.turn.session = session
        told.turn.conversation = session.conversation(messages, told.turn.request.marks)
        return told

    def talk(company: bool) -> tuple[list[str], int]:
        session = Sessions(engine.model, engine.processor, 4).take("a")
        said = [("user", "Tell me a story of a red apple, as long as you like.")]
        texts = []
        for seed in (1, 2):
            told = turn(session, said, seed)
            others = [Told(make()) for make in REQUESTS]
            write(engine, [others[0]] if company else [told], {2: [told], 3: others[1:]} if company else {})
            texts.append(told.content[0]["text"])
            session.marks = [*told.turn.request.marks, f"assistant {texts[-1]}"]
            said += [("assistant", texts[-1]), ("user", "And then?")]
        end = told.events[-1]
        assert isinstance(end, Finished)
        return texts, end.cached_tokens

    (alone, kept), (together, shared) = talk(False), talk(True)
    assert alone == together
    assert kept >= shared > 8  # among others the reply itself is read again, the prompt before it is not


def test_a_reply_ends_before_its_stop_sequence_and_leaves_the_others_alone(engine: Any) -> None:
    whole, other = Told(asking("Tell me a story.", seed=1)), Told(asking("Tell me a tale.", seed=2))
    write(engine, [whole, other])
    text = whole.content[0]["text"]
    stop = text[len(text) // 2 :][:3]
    cut, same_other = Told(asking("Tell me a story.", seed=1, stop=("never said", stop))), Told(other.turn.request)
    write(engine, [cut, same_other])
    assert "".join(part["text"] for part in cut.content) == text[: text.index(stop)]
    end, full = cut.events[-1], whole.events[-1]
    assert isinstance(end, Finished) and isinstance(full, Finished) and end.finish_reason == "stop"
    assert end.completion_tokens < full.completion_tokens and same(same_other.content, other.content)


def test_a_session_goes_on_behind_a_stop_sequence_as_a_fresh_conversation_would(engine: Any) -> None:
    from codi2_model.serving.scheduler.sessions import Sessions

    session = Sessions(engine.model, engine.processor, 4).take("a")
    first = Told(asking("Tell me a story.", seed=1, max_tokens=12))
    write(engine, [first])
    stop = first.content[0]["text"][4:7]
    told = Told(asking("Tell me a story.", seed=1, max_tokens=12, stop=(stop,)))
    told.turn.session = session
    write(engine, [told])
    said = [*told.turn.request.messages, {"role": "assistant", "content": told.content}, *asking("And then?").messages]
    chosen = Settings(modalities=("text",), max_tokens=8, temperature=1.5, seed=3)
    marks = (*session.marks, "and then")
    goes_on, fresh = (Told(ChatRequest(said, chosen, session="a", marks=marks)) for _ in range(2))
    goes_on.turn.session = session
    goes_on.turn.conversation = session.conversation(said, marks)
    write(engine, [goes_on])
    write(engine, [fresh])
    end = goes_on.events[-1]
    assert same(goes_on.content, fresh.content) and isinstance(end, Finished) and end.cached_tokens > 4


def test_penalties_lower_what_the_reply_holds_already(engine: Any) -> None:
    plain, held = (
        Told(asking("Tell me.", temperature=0.0, max_tokens=24, **more)) for more in ({}, {"frequency_penalty": 2.0})
    )
    write(engine, [plain, held])
    counts = [
        Counter(engine.processor.encode_text(told.content[0]["text"])).most_common(1)[0][1] for told in (plain, held)
    ]
    assert counts[1] <= counts[0]
    reply = Reply(0, None, 9, torch.Generator(), parts=[[3, 3, 5], ReplyMedium("image"), [3]])
    lowered = penalised(torch.zeros(8), reply, Settings(presence_penalty=0.5, frequency_penalty=1.0))
    assert lowered.tolist() == [0, 0, 0, -3.5, 0, -1.5, 0, 0]


def test_a_session_given_up_and_taken_up_again_at_once_keeps_its_cache_to_itself(engine: Any) -> None:
    from codi2_model.serving.scheduler.sessions import Sessions

    session = Sessions(engine.model, engine.processor, 4).take("a")
    first, again, fresh = (Told(asking("Tell me of a leaf.", seed=5)) for _ in range(3))
    write(engine, [fresh])
    for told in (first, again):
        told.turn.session = session

    write(engine, [first], {4: [again]}, lambda step: first.turn.cancel() if step == 4 else None)
    assert same(again.content, fresh.content)


def test_a_short_question_does_not_wait_for_a_long_reply(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    both, step = threading.Event(), ContinuousBatch.step

    def step_once_both_are_there(batch: ContinuousBatch) -> None:
        assert both.wait(60)
        step(batch)

    monkeypatch.setattr(ContinuousBatch, "step", step_once_both_are_there)

    async def events(backend: Any, request: ChatRequest, ends: list[str], name: str) -> None:
        async for event in backend.stream(request):
            assert not isinstance(event, Failed)
        ends.append(name)

    async def ask(backend: Any) -> list[str]:
        ends: list[str] = []
        long = asyncio.create_task(events(backend, asking("Tell me.", max_tokens=100, temperature=2.0), ends, "long"))
        while not backend.language.jobs:
            await asyncio.sleep(0.001)
        short = asyncio.create_task(events(backend, asking("What?", max_tokens=1), ends, "short"))
        await asyncio.sleep(0)  # the short question is in the queue after this
        both.set()
        await asyncio.gather(long, short)
        return ends

    with pipeline() as backend:
        assert asyncio.run(ask(backend)) == ["short", "long"]
        assert backend.language.batches == 1 and backend.language.jobs == 2


class Job:
    cancelled = False

    def __init__(self, work: Callable[[int], None]) -> None:
        self.work, self.error = work, threading.Event()

    def fail(self, error: BaseException) -> None:
        self.error.set()


def test_workers_share_what_waits_and_a_batch_that_fails_takes_no_other_along() -> None:
    sizes, all_wait, busy, both = list[int](), threading.Event(), threading.Barrier(3), threading.Barrier(2)

    def fails(_: int) -> None:
        busy.wait(10)
        all_wait.wait(10)
        raise RequestError("no")

    def works(count: int) -> None:
        sizes.append(count)
        if len(sizes) <= 2:
            both.wait(10)  # two batches are under way at once

    stage: Stage[Job] = Stage("test", lambda jobs: jobs[0].work(len(jobs)), lambda job: id(job.work), 8, workers=2)
    bad, good = [Job(fails), Job(fails)], [Job(works) for _ in range(8)]
    stage.put(bad[0])
    stage.put(bad[1])
    busy.wait(10)
    for job in good:
        stage.put(job)
    all_wait.set()
    while sum(sizes) < 8:
        time.sleep(0.001)
    stage.close()
    assert all(job.error.is_set() for job in bad) and not any(job.error.is_set() for job in good)
    assert sizes[0] == 4 and sizes[1] == 2 and stage.jobs == 10


@pytest.mark.parametrize("most", [0, -3])
def test_a_full_batch_asks_for_no_more(most: int) -> None:
    stage = Stage("test", lambda jobs: None, lambda job: None)
    assert stage.more(most) == []
    stage.close()
