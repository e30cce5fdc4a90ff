"""The HTTP side: OpenAI's own client over the real, very small model, and over a backend that echoes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from codi2_model.serving.http.api import build_api
from codi2_model.serving.http.media import Limits, image_to_url, video_to_url
from codi2_model.serving.openai.chat_response import Failed, ServerEvent
from codi2_model.serving.openai.errors import RequestError
from tests.codi2_model.serving.wire_media import audio_to_base64, image_from_url, video_from_url

openai = pytest.importorskip("openai", reason="the openai client is not installed")
FAST = {"steps": 2}


@pytest.fixture
def url(pipeline: Any, served: Any) -> Iterator[str]:
    with pipeline() as backend, served(build_api(backend, sizes=lambda: {"image": 32, "video": 32})) as address:
        yield address


@pytest.fixture
def client(url: str) -> Any:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)


def said(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


RED = {"type": "image_url", "image_url": {"url": image_to_url(Image.new("RGB", (8, 8), "red"))}}
HUM = {"type": "input_audio", "input_audio": {"data": audio_to_base64(np.sin(np.arange(8000) / 9)), "format": "wav"}}
CLIP = {"type": "video_url", "video_url": {"url": video_to_url(np.full((8, 16, 16, 3), 90, np.uint8))}}


def test_the_openai_client_sends_every_medium_and_gets_every_medium(client: Any) -> None:
    model = client.models.list().data[0].id
    for kind, name in (("image", "images"), ("audio", "audio"), ("video", "videos")):
        reply = client.chat.completions.create(
            model=model, messages=said(text("Turn "), RED, text(" to "), HUM, CLIP), seed=1,
            extra_body={"modalities": [kind], **FAST},
        )  # fmt: skip
        message = reply.model_dump()["choices"][0]["message"]
        assert message["content"] == "" and message["parts"] == [{"type": kind, "index": 0}]
        assert message[name] and reply.usage.prompt_tokens > 10
    assert video_from_url(message["videos"][0]["video_url"]["url"], Limits()).shape == (8, 256, 256, 3)


def test_a_reply_of_text_alone_is_a_plain_string(client: Any) -> None:
    reply = client.chat.completions.create(
        model="codi2-test", messages=said(text("hi")), max_tokens=4, modalities=["text"]
    )
    assert isinstance(reply.choices[0].message.content, str)


def test_text_and_one_medium_asked_for_hold_that_medium(client: Any) -> None:
    reply = client.chat.completions.create(
        model="codi2-test", messages=said(text("Draw a red apple.")), seed=1, max_tokens=6,
        extra_body={"modalities": ["text", "image"], **FAST},
    )  # fmt: skip
    message = reply.model_dump()["choices"][0]["message"]
    assert {"type": "image", "index": 0} in message["parts"] and len(message["images"]) == 1


def test_a_stream_tells_what_happens_and_gives_the_same_as_a_whole_reply(client: Any) -> None:
    asked: dict[str, Any] = {"model": "codi2-test", "messages": said(text("Draw a red apple.")), "max_tokens": 6}
    body = {"modalities": ["text", "image"], "steps": 4, "preview_every": 2}
    whole = client.chat.completions.create(**asked, extra_body=body).model_dump()["choices"][0]["message"]
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}, extra_body=body)
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == whole["content"]
    assert [image for d in deltas for image in (d.model_extra or {}).get("images", [])] == whole["images"]
    events = [chunk.model_extra["codi2"] for chunk in chunks if "codi2" in (chunk.model_extra or {})]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "medium_begun" and kinds[-1] == "medium_done" and kinds.count("progress") == 4
    assert sum("preview" in event for event in events) == 1
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-2].choices[0].finish_reason in ("stop", "length")


def test_words_come_before_the_reply_is_whole(url: str) -> None:
    body = {"messages": said(text("Draw.")), "stream": True, "modalities": ["video"], "steps": 60}
    arrived = []
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data"):
                arrived.append(time.monotonic())
    assert len(arrived) > 60 and arrived[-1] - arrived[2] > 0.1


def test_a_client_that_leaves_frees_its_place(pipeline: Any, served: Any) -> None:
    slow = {"messages": said(text("Draw.")), "modalities": ["video"], "steps": 100}
    with pipeline(queue=1) as backend, served(build_api(backend)) as url:
        for stream in (True, False):
            with pytest.raises(httpx.ReadTimeout):
                if stream:
                    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**slow, "stream": True}) as response:
                        next(response.iter_lines())
                        raise httpx.ReadTimeout("left")
                httpx.post(f"{url}/v1/chat/completions", json=slow, timeout=0.3)
            end = time.monotonic() + 5
            while httpx.get(f"{url}/metrics").text.find("requests_under_way 0") < 0 and time.monotonic() < end:
                time.sleep(0.05)
            quick = {"messages": said(text("Draw.")), "modalities": ["image"], "steps": 1}
            assert httpx.post(f"{url}/v1/chat/completions", json=quick, timeout=20).status_code == 200
        assert 'status="499"' in httpx.get(f"{url}/metrics").text


def test_more_than_the_queue_holds_is_told_when_to_come_again(pipeline: Any, served: Any) -> None:
    body = {"messages": said(text("Draw.")), "modalities": ["video"], "steps": 40}
    answers: list[httpx.Response] = []
    with pipeline(queue=2) as backend, served(build_api(backend)) as url:

        def ask() -> None:
            answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    codes = sorted(answer.status_code for answer in answers)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert codes.count(200) >= 2 and set(codes) == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"


def test_a_reply_that_takes_too_long_ends_with_the_reason(pipeline: Any, served: Any) -> None:
    body = {"messages": said(text("Draw.")), "modalities": ["video"], "steps": 100}
    with pipeline(timeout_s=0.2) as backend, served(build_api(backend)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == 504 and "0.2 s" in answer.json()["error"]["message"]
        with httpx.stream("POST", f"{url}/v1/chat/completions", json={**body, "stream": True}) as response:
            lines = [line for line in response.iter_lines() if line]
        assert json.loads(lines[-2][6:])["error"]["code"] == "timeout" and lines[-1] == "data: [DONE]"


def test_a_server_that_drains_finishes_what_it_has_and_refuses_more(pipeline: Any, served: Any) -> None:
    body = {"messages": said(text("Draw.")), "modalities": ["video"], "steps": 30}
    answers: list[httpx.Response] = []
    with pipeline() as backend, served(build_api(backend)) as url:
        thread = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))
        )
        thread.start()
        time.sleep(0.3)
        backend.draining = True
        refused = httpx.post(f"{url}/v1/chat/completions", json=body)
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert httpx.get(f"{url}/ready").status_code == 503 and httpx.get(f"{url}/health").status_code == 200
        thread.join()
    assert answers[0].status_code == 200


def test_a_session_reads_only_what_is_new(client: Any) -> None:
    def ask(messages: list[dict[str, Any]]) -> Any:
        return client.chat.completions.create(
            model="codi2-test", messages=messages, seed=3, extra_body={"session": "a", "modalities": ["image"], **FAST}
        ).model_dump()

    first = ask(said(text("Draw a red apple like "), RED))
    assert first["session"] == "a" and first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    [begun], kept = said(text("Draw a red apple like "), RED), first["choices"][0]["message"]
    second = ask([begun, kept, *said(text("Now a leaf."))])
    known = first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= known  # the reply's image too
    listed = {
        "role": "assistant",
        "content": [{k: v for k, v in image.items() if k != "index"} for image in kept["images"]],
    }
    third = ask([begun, listed, *said(text("Now a tree."))])
    assert third["usage"]["prompt_tokens_details"]["cached_tokens"] >= known
    green = {"type": "image_url", "image_url": {"url": image_to_url(Image.new("RGB", (8, 8), "green"))}}
    edited = ask([*said(text("Draw a red apple like "), green), kept, *said(text("Now a leaf."))])
    assert edited["usage"]["prompt_tokens_details"]["cached_tokens"] == 0  # another picture: nothing may be reused
    fresh = client.chat.completions.create(
        model="codi2-test", messages=[*said(text("Draw a red apple like "), green), kept, *said(text("Now a leaf."))],
        seed=3, extra_body={"modalities": ["image"], **FAST},
    ).model_dump()  # fmt: skip
    pictures = [reply["choices"][0]["message"]["images"][0]["image_url"]["url"] for reply in (edited, fresh)]
    assert pictures[0] == pictures[1]


def test_sessions_are_bounded(pipeline: Any, served: Any) -> None:
    with pipeline(sessions=2) as backend, served(build_api(backend)) as url:
        for name in "abcd":
            body = {"messages": said(text("hi")), "session": name, "modalities": ["text"], "max_tokens": 2}
            assert httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30).status_code == 200
        assert len(backend.sessions) == 2


def test_pictures_sounds_and_clips_are_generated_by_the_client_s_own_calls(client: Any, url: str) -> None:
    made = client.images.generate(model="codi2-test", prompt="a red apple", n=2, extra_body={"seed": 5, **FAST})
    assert len(made.data) == 2 and made.data[0].b64_json != made.data[1].b64_json
    again = client.images.generate(
        model="codi2-test", prompt="a red apple", size="32x32", extra_body={"seed": 6, **FAST}
    )
    one, same = (
        np.asarray(image_from_url(f"data:image/png;base64,{found.b64_json}", Limits())).astype(int)
        for found in (made.data[1], again.data[0])
    )
    assert np.abs(one - same).max() <= 2  # rounding of batched sums
    for route in ("audio", "videos"):
        answer = httpx.post(f"{url}/v1/{route}/generations", json={"prompt": "a drum", **FAST}, timeout=60).json()
        assert answer["data"][0]["b64_json"] and answer["output_format"] in ("wav", "mp4")
    with pytest.raises(openai.BadRequestError, match="32x32"):
        client.images.generate(model="codi2-test", prompt="x", size="1024x1024")
    with pytest.raises(openai.BadRequestError, match="prompt"):
        client.images.generate(model="codi2-test", prompt=" ")


def test_the_openai_client_raises_its_own_errors_with_the_field_at_fault(client: Any) -> None:
    def ask(part: dict[str, Any], **other: Any) -> None:
        client.chat.completions.create(**{"model": "codi2-test", "messages": said(part), **other})

    for bad in ("https://example.org/a.png", "data:image/png;base64,AAAA"):
        with pytest.raises(openai.BadRequestError) as caught:
            ask({"type": "image_url", "image_url": {"url": bad}})
        assert caught.value.param == "messages[0].content[0].image_url.url"
    with pytest.raises(openai.NotFoundError):
        ask(text("x"), model="nothing")
    with pytest.raises(openai.BadRequestError) as empty:
        ask(text("x"), messages=[])
    assert empty.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="max_length 160"):
        ask(text("word " * 800))
    with pytest.raises(openai.APIStatusError) as large:
        ask({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000_000}})
    assert large.value.status_code == 413


def test_the_openai_client_cancels_a_stream_and_the_place_is_free(client: Any, url: str) -> None:
    """Where the client stops listening halfway, the decoder stops at its next step."""
    stream = client.chat.completions.create(
        model="codi2-test",
        messages=said(text("Draw.")),
        stream=True,
        extra_body={"modalities": ["video"], "steps": 100},
    )
    steps = 0
    for chunk in stream:
        steps += (chunk.model_extra or {}).get("codi2", {}).get("event") == "progress"
        if steps == 3:
            break
    stream.close()
    end = time.monotonic() + 5
    while "codi2_requests_under_way 0" not in (metrics := httpx.get(f"{url}/metrics").text):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert 'codi2_requests_total{route="chat",status="499"} 1.0' in metrics


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"), (401, "AuthenticationError"), (403, "PermissionDeniedError"), (404, "NotFoundError"),
        (409, "ConflictError"), (429, "RateLimitError"), (503, "InternalServerError"), (504, "InternalServerError"),
    ],
)  # fmt: skip
def test_every_refusal_is_an_error_of_the_client_s_own(echo: Any, served: Any, status: int, kind: str) -> None:
    async def refuse(request: Any) -> AsyncGenerator[ServerEvent, None]:
        yield Failed(RequestError("not now", "messages", "some_code", status, retry_after=3))

    echo.stream = refuse
    with served(build_api(echo)) as address:
        for stream in (False, True):
            asking = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0).chat.completions
            with pytest.raises(getattr(openai, kind)) as caught:
                asking.create(model="codi2-tiny", messages=said(text("x")), stream=stream)
            found = caught.value
            assert (found.status_code, found.code, found.param) == (status, "some_code", "messages")
            assert "not now" in str(found) and found.response.headers["retry-after"] == "3"


def test_a_reply_mixes_words_and_media_in_the_order_they_were_made(echo: Any, served: Any) -> None:
    with served(build_api(echo)) as address:
        chat = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0).chat.completions
        asked: dict[str, Any] = {"model": "codi2-tiny", "messages": said(text("one"), RED, text("two"), HUM, CLIP)}
        whole = chat.create(**asked).choices[0].message.model_dump()
        order = [(part["type"], part.get("index")) for part in whole["parts"]]
        assert order == [("text", None), ("image", 0), ("text", None), ("audio", 0), ("video", 0)]
        assert (
            whole["content"] == "Turn 1 <b>not bold</b>: one two " == "".join(p.get("text", "") for p in whole["parts"])
        )
        deltas = [
            c.choices[0].delta.model_dump(exclude_none=True) for c in chat.create(**asked, stream=True) if c.choices
        ]
        assert "".join(delta.get("content", "") for delta in deltas) == whole["content"]
        assert [name for delta in deltas for name in ("images", "audio", "videos") if name in delta] == [
            "images",
            "audio",
            "videos",
        ]
        found = {name: delta[name] for delta in deltas for name in ("images", "videos") if name in delta}
        assert found == {name: whole[name] for name in found}
        assert next(d["audio"]["data"] for d in deltas if "audio" in d) == whole["audio"]["data"]


def test_a_request_may_ask_for_the_interleaved_list_instead(echo: Any, served: Any) -> None:
    with served(build_api(echo)) as address:
        chat = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0).chat.completions
        asked: dict[str, Any] = {"model": "codi2-tiny", "messages": said(text("one"), RED, text("two"), HUM, CLIP)}
        asked["extra_body"] = {"content_format": "list"}
        message = chat.create(**asked).model_dump(exclude_none=True)["choices"][0]["message"]
        assert [part["type"] for part in message["content"]] == ["text", "image_url", "text", "audio", "video_url"]
        assert "images" not in message and "parts" not in message
        pieces = [chunk.choices[0].delta.content for chunk in chat.create(**asked, stream=True) if chunk.choices]
        media = [piece[0]["type"] for piece in pieces if isinstance(piece, list)]
        assert media == ["image_url", "audio", "video_url"]
        assert "".join(piece for piece in pieces if isinstance(piece, str)).endswith("one two ")
