"""The HTTP side, over a backend that answers with what it was sent."""

from __future__ import annotations

import json

import openai
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from codi2_model.serving.api import build_api, page_html
from codi2_model.serving.media import Limits, image_to_url
from codi2_model.serving.protocol import ChatRequest, Reply, RequestError


class Echo:
    """Replies with the last message's parts."""

    model_id = "echo"

    async def complete(self, request: ChatRequest) -> Reply:
        content = request.messages[-1]["content"]
        first = content[0].get("text", "")
        if first == "refuse":
            raise RequestError("the conversation is too long", "messages", "context_length_exceeded")
        if first == "fail":
            raise RuntimeError("cannot open /secret/place/model.safetensors")
        return Reply(list(content), prompt_tokens=len(content), completion_tokens=len(content))


@pytest.fixture(scope="module")
def http() -> TestClient:
    return TestClient(build_api(Echo(), Limits(body_bytes=100_000)), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def client(http: TestClient) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://127.0.0.1/v1", api_key="x", http_client=http, max_retries=0)


def parts() -> list[dict]:
    url = image_to_url(Image.new("RGB", (8, 8), "green"))
    return [{"type": "text", "text": "look at this: "}, {"type": "image_url", "image_url": {"url": url}}]


def test_the_openai_client_gets_an_interleaved_reply(client: openai.OpenAI) -> None:
    assert client.models.list().data[0].id == "echo"
    reply = client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": parts()}],
        seed=1,
        extra_body={"modalities": ["text", "image"]},
    )
    content = reply.model_dump()["choices"][0]["message"]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]
    assert content[1] == parts()[1] and reply.usage.total_tokens == 4


def test_the_openai_client_streams_text_and_media(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": parts()}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(piece for piece in deltas if isinstance(piece, str)) == "look at this: "
    media = [piece for piece in deltas if isinstance(piece, list)]
    assert len(media) == 1 and media[0][0] == parts()[1]
    assert chunks[-1].usage.total_tokens == 4


def test_a_stream_ends_with_done(http: TestClient) -> None:
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "hi there"}]}
    response = http.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


def test_the_openai_client_raises_its_own_errors_with_the_field_at_fault(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        part = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": [part]}])
    assert caught.value.param == "messages[0].content[0].image_url.url"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="too long"):
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "refuse"}])


def test_a_failure_inside_tells_no_paths(http: TestClient) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "fail"}]}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["type"] == "server_error" and "secret" not in response.text and "safetensors" not in response.text


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_cap_is_refused(http: TestClient, declared: bool) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 200_000}]}).encode()
    content = body if declared else iter([body[:50_000], body[50_000:]])  # the second is sent without a length
    response = http.post("/v1/chat/completions", content=content)
    assert response.status_code == 413 and response.json()["error"]["code"] == "too_large"


def test_unknown_addresses_get_an_error_of_the_same_shape(http: TestClient) -> None:
    assert http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert http.get("/v1/chat/completions").status_code == 405
    assert http.get("/v1/models/other").status_code == 404


def test_health_names_the_model(http: TestClient) -> None:
    assert http.get("/health").json() == {"status": "ok", "model": "echo"}


def test_the_page_asks_nothing_of_other_places(http: TestClient) -> None:
    response = http.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "http://" not in page_html() and "https://" not in page_html()
