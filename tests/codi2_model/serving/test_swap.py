"""Another model is promoted while requests are answered: none is lost, each is answered by one model and says by which."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from codi2_model.checkpoints.registry import deployments, promote, roll_back
from codi2_storage.store import Store

SCRIPT = """
import sys
from codi2_model.serving.deploy.app import serve
from codi2_model.serving.deploy.settings import ServerSettings
folder, identity, root, split = sys.argv[1:]
serve(folder, port=0, model_id=identity, follow=root, every=0.3,
      settings=ServerSettings(split_decoders=split == "split", timeout_s=20))
"""


@contextmanager
def following(root: Path, model: tuple[str, Path], split: bool = False) -> Iterator[tuple[str, Path]]:
    """A server that follows a root: its address, and the file of what it says."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    said = root / "said.txt"
    command = [sys.executable, "-c", SCRIPT, str(model[1]), model[0], str(root), "split" if split else "whole"]
    with said.open("w") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment, start_new_session=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert f"serving {model[0]} on http" in line
            yield next(word for word in line.split() if word.startswith("http")), said
        finally:
            process.terminate()
            assert process.wait(timeout=120) == 0


@dataclass
class Load:
    """Requests without pause from a few clients, every second one streamed: (begun, ended, model) of each, and failures."""

    url: str
    asked_for: str
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def client(self, number: int, over: threading.Event) -> None:
        with httpx.Client(timeout=60) as http:
            turn = number
            while not over.is_set():
                turn += 1
                wanted = "image" if turn % 3 else "text"
                body = {
                    "messages": [{"role": "user", "content": "Draw a red apple."}], "modalities": [wanted], "steps": 2,
                    "max_tokens": 4, "model": self.asked_for, "stream": turn % 2 == 0,
                }  # fmt: skip
                if turn % 4 == 1:
                    body["session"] = f"client {number}"
                begun = time.monotonic()
                try:
                    model = ask(http, self.url, body)
                except Exception as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                else:
                    self.answers.append((begun, time.monotonic(), model))


def ask(http: httpx.Client, url: str, body: dict[str, Any]) -> str:
    """The model that answered; raises for anything but a whole answer."""
    answer = http.post(f"{url}/v1/chat/completions", json=body)
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")
    if not body["stream"]:
        assert answer.json()["choices"][0]["finish_reason"]
        return str(answer.json()["model"])
    assert "[DONE]" in answer.text and '"error"' not in answer.text, answer.text[-300:]
    [model] = set(re.findall(r'"model":\s*"(\w+)"', answer.text))
    return model


@contextmanager
def load(url: str, asked_for: str, clients: int = 4) -> Iterator[Load]:
    found, over = Load(url, asked_for), threading.Event()
    threads = [threading.Thread(target=found.client, args=(n, over)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()


def until(holds: Callable[[], bool], seconds: float = 60) -> float:
    """The moment when it holds first."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
    return time.monotonic()


def told(url: str) -> str:
    return str(httpx.get(f"{url}/v1/models", timeout=10).json()["data"][0]["id"])


def loaded(url: str) -> list[str]:
    return re.findall(r"^codi2_models{[^}]*} ([\d.]+)$", httpx.get(f"{url}/metrics", timeout=10).text, re.M)


@pytest.mark.parametrize("split", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_request_is_lost_while_models_are_promoted_rolled_back_and_broken(
    models: list[tuple[str, Path]], broken: Path, tmp_path: Path, split: bool
) -> None:
    store = Store(tmp_path)
    (a, first), (b, second), (c, third) = models
    promote(store, a, str(first), "first")
    with following(tmp_path, models[0], split) as (url, said):
        with load(url, a) as found:
            until(lambda: len(found.answers) > 8)
            moments = []
            for identity, folder in ((b, second), (c, third)):
                promoted = time.monotonic()
                promote(store, identity, str(folder), "better")
                moments.append((promoted, until(lambda identity=identity: told(url) == identity)))  # type: ignore[misc]
            promote(store, "0123456789abcdef", str(broken), "better, it seemed")
            until(lambda: "cannot be served" in said.read_text())
            assert told(url) == c
            assert roll_back(store)["checkpoint_id"] == c
            roll_back(store, b)
            back = until(lambda: told(url) == b)
            until(lambda: sum(begun > back for begun, _, _ in found.answers) > 8)
        assert found.failures == []
        whose = {model for _, _, model in found.answers}
        assert whose == {a, b, c}
        assert {model for _, ended, model in found.answers if ended < moments[0][0]} == {a}
        assert {m for begun, ended, m in found.answers if begun > moments[0][1] and ended < moments[1][0]} <= {b}
        assert {model for begun, _, model in found.answers if begun > back} == {b}
        until(lambda: loaded(url) == ["1.0"])
        assert httpx.get(f"{url}/v1/models/{a}", timeout=10).json()["id"] == b  # who asks for the old gets the new
        assert httpx.get(f"{url}/v1/models/nobody", timeout=10).status_code == 404
        [name] = {row for row in names(store) if row.startswith("serve-")}
        rows = deployments(store, name)
        assert [row["checkpoint_id"] for row in rows] == [b, c, b, a] and rows[0]["until"] is None
    assert "0123456789abcdef is promoted but cannot be served" in said.read_text()
    assert deployments(store, name)[0]["until"] is not None


def names(store: Store) -> set[str]:
    from codi2_storage.catalog.catalog import Catalog

    return {row["name"] for row in Catalog(store).sql("select distinct name from deployments").to_pylist()}
