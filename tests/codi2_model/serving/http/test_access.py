"""The HTTP API over a backend that echoes: errors, limits, access, metrics and the page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.http.api import build_api
from codi2_model.serving.http.media import Limits, image_to_url


@pytest.fixture
def http(echo: Any) -> TestClient:
    api = build_api(echo, ServerSettings(limits=Limits(body_bytes=100_000)))
    return TestClient(api, base_url="http://127.0.0.1")


def said(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


RED = {"type": "image_url", "image_url": {"url": image_to_url(Image.new("RGB", (8, 8), "red"))}}


def test_a_failure_inside_tells_no_paths(http: TestClient) -> None:
    for stream in (False, True):
        response = http.post("/v1/chat/completions", json={"messages": said(text("fail")), "stream": stream})
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


def test_openapi_describes_the_routes_and_metrics_count(http: TestClient) -> None:
    http.post("/v1/chat/completions", json={"messages": said(text("hi"), RED)})
    routes = http.get("/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/v1/images/generations", "/v1/audio/generations", "/v1/models"} <= set(routes)
    schema = routes["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "messages" in schema["properties"]
    metrics = http.get("/metrics").text
    assert 'codi2_requests_total{route="chat",status="200"} 1.0' in metrics
    assert 'codi2_media_total{modality="image"} 1.0' in metrics and "codi2_requests_under_way 0" in metrics


def test_a_token_is_asked_for_where_one_is_set(echo: Any) -> None:
    http = TestClient(build_api(echo, ServerSettings(token="s3cret")), base_url="http://127.0.0.1")
    assert http.get("/health").status_code == http.get("/").status_code == http.get("/ready").status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}, {"Authorization": "Bearer "}):
        answer = http.get("/v1/models", headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["type"] == "authentication_error"
    assert http.get("/metrics").status_code == 401
    assert http.get("/v1/models", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_other_origins_and_host_names_are_refused_unless_allowed(echo: Any) -> None:
    closed = TestClient(build_api(echo, ServerSettings(hosts=("127.0.0.1",))), base_url="http://127.0.0.1")
    assert closed.get("/health", headers={"Origin": "https://evil.example"}).status_code == 403
    assert closed.get("/health", headers={"Origin": "null"}).status_code == 403
    assert closed.get("/health", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    assert closed.get("/health", headers={"Host": "evil.example"}).status_code == 421
    assert closed.get("/health", headers={"Host": "127.0.0.1:99"}).status_code == 200
    allowed = TestClient(build_api(echo, ServerSettings(origins=("https://app.example",))), base_url="http://127.0.0.1")
    answer = allowed.get("/health", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in closed.get("/health").headers


def test_the_page_asks_nothing_of_other_places(http: TestClient) -> None:
    response = http.get("/")
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert http.get("/page/..%2fapi.py").status_code == 404 and http.get("/page/__init__.py").status_code == 404
