"""An answer that its maker did not begin, or did not end, over a real HTTP server as Ray's proxy has one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from codi2_model.serving.deploy.ingress_failure import MESSAGE, IngressFailureMiddleware

START = {"type": "http.response.start", "status": 200}


def maker(kind: str, *bodies: bytes, end: bool) -> Any:
    """An app that sends so much and then stops without a word, as the proxy does for a dead replica."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not bodies:
            return
        await send({**START, "headers": [(b"content-type", kind.encode())]})
        for body in bodies:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if end:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return IngressFailureMiddleware(app)


def test_an_answer_that_never_began_is_503_with_a_reason(served: Any) -> None:
    with served(maker("", end=False)) as address:
        answer = httpx.get(address)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["message"] == MESSAGE and answer.json()["error"]["code"] == "unavailable"


def test_a_stream_that_was_cut_off_ends_with_the_reason(served: Any) -> None:
    with served(maker("text/event-stream; charset=utf-8", b'data: {"n": 1}\n\n', end=False)) as address:
        first, second, third, rest = httpx.get(address).text.split("\n\n")
    assert first == 'data: {"n": 1}' and MESSAGE in second and third == "data: [DONE]" and not rest


def test_whole_answers_pass_untouched_and_others_stay_cut(served: Any) -> None:
    with served(maker("text/event-stream", b"data: [DONE]\n\n", end=True)) as address:
        assert httpx.get(address).text == "data: [DONE]\n\n"
    with served(maker("application/json", b'{"a": ', end=False)) as address, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(address)
