"""The real server: Ray Serve over a small random model, spoken to by the openai client."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from codi2_model.serving.deploy.app import PortTaken, serve
from codi2_model.serving.http.media import Limits, image_to_url
from codi2_model.serving.openai.chat_response import Reply
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest, Settings
from codi2_model.serving.scheduler.engine import Engine
from tests.codi2_model.serving.wire_media import audio_from_base64, audio_to_base64, image_from_url


def asking(text: str, **settings: object) -> ChatRequest:
    chosen = {"modalities": ("image",), "steps": 2, "max_tokens": 8, **settings}
    return ChatRequest([{"role": "user", "content": [{"type": "text", "text": text}]}], Settings(**chosen))  # type: ignore[arg-type]


def picture_of(reply: Reply | RequestError) -> np.ndarray:
    assert isinstance(reply, Reply)
    return np.asarray(next(part["value"] for part in reply.content if part["type"] == "image"))


def test_the_engine_answers_a_batch_of_unlike_requests_each_by_its_own_settings(checkpoint: Path) -> None:
    engine = Engine(checkpoint, "codi2-test")
    long = asking("word " * 400)
    replies = engine.complete(
        [
            asking("Draw a red apple."),
            long,
            asking("Play a low drum.", modalities=("audio",)),
            asking("Say it.", modalities=("text",)),
        ]
    )
    assert isinstance(replies[1], RequestError) and replies[1].param == "messages" and "160" in str(replies[1])
    kinds = [[p["type"] for p in reply.content] for reply in replies if isinstance(reply, Reply)]
    assert "image" in kinds[0] and "audio" not in kinds[0]
    assert "audio" in kinds[1] and "image" not in kinds[1]
    assert set(kinds[2]) <= {"text"}


def test_text_with_one_medium_asked_for_holds_that_medium_and_no_other_is_forced(checkpoint: Path) -> None:
    engine = Engine(checkpoint, "codi2-test")
    near_the_end = asking("a b " * 30, modalities=("text", "image"), required="image", max_tokens=200)
    both, free = engine.complete([near_the_end, asking("Draw.", modalities=("text", "image", "audio"))])
    assert isinstance(both, Reply) and "image" in [p["type"] for p in both.content]
    assert isinstance(free, Reply)


def test_a_seed_gives_the_same_picture_alone_and_in_a_batch(checkpoint: Path) -> None:
    engine = Engine(checkpoint, "codi2-test")
    alone = picture_of(engine.complete([asking("Draw a red apple.", seed=7)])[0])
    others = [asking("Draw a leaf.", seed=7), asking("Draw a red apple.", seed=7), asking("Draw a red apple.", seed=8)]
    batch = [picture_of(reply) for reply in engine.complete(others)]
    assert np.abs(alone.astype(int) - batch[1].astype(int)).max() <= 1  # rounding of batched sums
    assert np.abs(alone.astype(int) - batch[2].astype(int)).max() > 8


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`serve` as a program of its own: the process and its address."""
    script = f"from codi2_model.serving.deploy.app import serve; serve({str(checkpoint)!r}, port=0)"
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "serving codi2-test on http" in line
        yield process, next(word for word in line.split() if word.startswith("http"))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def url(server: tuple[subprocess.Popen[str], str]) -> str:
    return server[1]


def test_the_openai_client_sends_a_picture_and_a_sound_and_gets_media_back(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
    model = client.models.list().data[0].id
    assert model == "codi2-test"
    picture = image_to_url(Image.new("RGB", (48, 32), "red"))
    wave = audio_to_base64(np.sin(np.arange(8_000) / 12).astype(np.float32))
    content = [
        {"type": "text", "text": "Turn "},
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "text", "text": " into flat style, to this sound "},
        {"type": "input_audio", "input_audio": {"data": wave, "format": "wav"}},
    ]
    settings = {"modalities": ["image"], "steps": 2}
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],  # type: ignore[typeddict-item, list-item]
        seed=1,
        max_tokens=8,
        extra_body=settings,
    )
    images = reply.choices[0].message.model_extra["images"]  # type: ignore[index]
    assert images and reply.usage is not None and reply.usage.prompt_tokens > 8
    assert image_from_url(images[0]["image_url"]["url"], Limits()).size == (32, 32)

    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Play a low drum."}], stream=True, max_tokens=8,
        extra_body={"modalities": ["audio"], "steps": 2},
    )  # fmt: skip
    found = [chunk.choices[0].delta.model_dump().get("audio") for chunk in stream if chunk.choices]
    sounds = [audio for audio in found if audio]
    assert len(sounds) == 1 and len(audio_from_base64(sounds[0]["data"], Limits())) > 0

    with pytest.raises(openai.BadRequestError) as caught:
        remote = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/x.png"}}]
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": remote}])  # type: ignore[typeddict-item, list-item]
    assert caught.value.param == "messages[0].content[0].image_url.url"


def test_health_and_page_are_served(url: str) -> None:
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert httpx.get(f"{url}/ready").json() == {"ready": True}
    assert "codi2_language_jobs_total" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/health", headers={"Host": "evil.example"}).status_code == 421
    assert "<title>CoDi-2</title>" in httpx.get(f"{url}/").text


def test_a_client_that_leaves_frees_its_place_through_the_deployments(url: str) -> None:
    body = {"messages": [{"role": "user", "content": "Draw."}], "modalities": ["video"], "steps": 100}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**body, "stream": True}, timeout=60) as response:
        assert next(response.iter_lines()).startswith("data:")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/chat/completions", json=body, timeout=0.3)
    end = time.monotonic() + 20
    while not re.search(r"codi2_requests_under_way{replica=\"\w+\"} 0", httpx.get(f"{url}/metrics").text):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_lost_replica_costs_what_had_begun_a_reason_and_nothing_else(url: str, server: Any) -> None:
    """The model's process is killed under load: every answer is whole, or says 503 and why."""
    pids = [int(line.split()[0]) for line in replicas_of(server[0].pid)]
    assert len(pids) == 1
    body = {"messages": [{"role": "user", "content": "Draw."}], "modalities": ["image"], "steps": 30}

    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(ask, range(16))
        time.sleep(0.5)
        os.kill(pids[0], signal.SIGKILL)
        found = list(answers)
    assert {answer.status_code for answer in found} <= {200, 503} and found[-1].status_code == 200
    lost = [answer.json()["error"]["message"] for answer in found if answer.status_code == 503]
    assert all("send it again" in message for message in lost)


def replicas_of(pid: int) -> list[str]:
    """`pid name` of the model's replicas in a process's session."""
    listed = subprocess.run(["ps", "-eo", "pid=,sid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [f"{row[0]} {row[2]}" for row in rows if row[1] == str(pid) and "ServeReplica:codi2:model" in row[2]]


def test_a_taken_port_and_a_missing_checkpoint_are_said_before_anything_starts(
    checkpoint: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"cannot listen on 127.0.0.1:{port} .*choose another port with --port"):
            serve(checkpoint, port=port)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        serve(tmp_path)


def test_sigterm_ends_the_server_in_good_order(server: tuple[subprocess.Popen[str], str]) -> None:
    """The last test of this file: the server is gone after it."""
    process, url = server
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", timeout=2)
