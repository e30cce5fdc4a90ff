"""Stock clients of OpenAI's API, unchanged: `make clients` installs them beside this project and runs these tests.

`docs/serving.md` has the same table for people.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codi2_model.serving.http.api import build_api
from codi2_model.serving.openai.chat_response import ServerEvent
from codi2_model.serving.openai.protocol import ChatRequest

HERE, INSTALLED = Path(__file__).parent, Path("build/clients").absolute()
HELLO, APPLE, DRUM = "You said: Say hello.", "You said: Draw an apple.", "You said: Play a drum."
TEXT, IMAGE, AUDIO = (HELLO, False, False), (APPLE, True, False), (DRUM, False, True)
APPLE_ALONE, DRUM_ALONE = (APPLE, False, False), (DRUM, False, False)  # of clients that pass over other media
MEDIA, PICTURES = ("", True, True), ("", True, False)
CHAT = {"text": TEXT, "image": IMAGE, "audio": AUDIO, "stream": IMAGE}
TEXT_ALONE = {"text": TEXT, "image": APPLE_ALONE, "audio": DRUM_ALONE, "stream": TEXT, "turns": TEXT}
NEWER = {"responses": IMAGE, "responses stream": IMAGE}
EXPECTED: dict[str, dict[str, tuple[str, bool, bool]]] = {
    "openai_python": {**CHAT, **NEWER, "media": MEDIA, "turns": TEXT},
    "litellm": {**CHAT, "responses": TEXT, "media": MEDIA},
    "langchain": {**TEXT_ALONE, "audio": AUDIO, "responses": IMAGE, "responses stream": TEXT},
    "pydantic_ai": {**TEXT_ALONE, "responses": (HELLO, True, False)},
    "llm": TEXT_ALONE,
    "gradio": {**TEXT_ALONE, "turns": ("You said: What is this?", False, False)},
    "openai_node": {**CHAT, **NEWER, "media": MEDIA},
    "@ai-sdk/openai": {**TEXT_ALONE, "image": IMAGE, "media": MEDIA},
    "@ai-sdk/openai chat": {**TEXT_ALONE, "media": MEDIA},
    "@ai-sdk/openai-compatible": {**TEXT_ALONE, "media": PICTURES},
}
PYTHON = ("openai_python", "litellm", "langchain", "pydantic_ai", "llm", "gradio")
pytestmark = pytest.mark.clients


@pytest.fixture
def address(maker: Any, served: Any) -> Any:
    """A server whose replies hold the medium that the last message asks for."""
    answer = maker.stream

    async def stream(request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        said = " ".join(part.get("text", "") for part in request.messages[-1]["content"])
        wanted = {"Draw": "image", "Play": "audio"}.get(said.partition(" ")[0])
        if wanted in request.settings.modalities:
            request = replace(request, settings=replace(request.settings, required=wanted))
        async for event in answer(request):
            yield event

    maker.stream = stream
    with served(build_api(maker, sizes=lambda: {"image": 8, "video": 16})) as url:
        yield f"{url}/v1"


def told_by(*command: str | Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=INSTALLED, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def compared(told: dict[str, Any], names: list[str]) -> None:
    cells = ("text", "image", "audio")
    for name in names:
        assert told[name] == {cell: dict(zip(cells, value, strict=True)) for cell, value in EXPECTED[name].items()}, (
            name
        )


def test_python_clients_work_unchanged(address: str) -> None:
    python = INSTALLED / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("`make clients` installs the clients")
    compared(told_by(python, HERE / "python_clients.py", address), list(PYTHON))


def test_node_clients_work_unchanged(address: str) -> None:
    if shutil.which("node") is None or not (INSTALLED / "node_modules" / "ai").exists():
        pytest.skip("`make clients` installs the clients, where there is npm")
    shutil.copy(HERE / "node_clients.mjs", INSTALLED)
    compared(told_by("node", "node_clients.mjs", address), [name for name in EXPECTED if name not in PYTHON])
