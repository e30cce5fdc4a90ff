"""A real, very small checkpoint for everything that serves, its engine, and backends for what is HTTP alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_datasets.media.video import encode_video
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.generation.events import MediumBegun, MediumDone, Progress, TextDelta
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.openai.chat_response import Failed, Finished, ServerEvent
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.protocol import ChatRequest

TEXTS = ["Draw a red apple in the flat style.", "Play a low drum.", "What is this? A green leaf."] * 4


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, parts: Any) -> Path:
    import torch

    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    torch.manual_seed(0)
    processor = CoDi2Processor.build(parts.config(max_length=160), texts=TEXTS)
    folder = tmp_path_factory.mktemp("serving") / "codi2-test"
    CoDi2ForConditionalGeneration.build(processor.config, seed=1).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def engine(checkpoint: Path) -> Any:
    from codi2_model.serving.scheduler.engine import Engine

    return Engine(checkpoint, "codi2-test", threads=1)


@pytest.fixture(scope="session")
def models(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Three models of one shape, by their ids."""
    import torch

    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    processor = CoDi2Processor.from_pretrained(checkpoint)
    found = []
    for seed in (11, 12, 13):
        torch.manual_seed(seed)
        folder = tmp_path_factory.mktemp("models") / "final"
        CoDi2ForConditionalGeneration.build(processor.config, seed=seed).save_pretrained(folder)
        processor.save_pretrained(folder)
        found.append((weights_digest(folder)[:16], folder))
    return found


@pytest.fixture
def broken(models: list[tuple[str, Path]], tmp_path: Path) -> Path:
    """A checkpoint whose weights are cut short."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in models[0][1].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return folder


@pytest.fixture
def pipeline(engine: Any) -> Any:
    """`with pipeline(queue=2) as backend`: the real model behind stages, without Ray."""
    from codi2_model.serving.scheduler.pipeline import Pipeline

    @contextmanager
    def made(**settings: Any) -> Iterator[Pipeline]:
        found = Pipeline(engine, ServerSettings(**settings))
        yield found
        found.close()

    return made


class Echo:
    """Replies with the last message's parts; "refuse" and "fail" are taken at their word."""

    model_id = "codi2-tiny"
    modalities = ("image", "audio", "video")
    before = ("codi2-old",)

    def __init__(self) -> None:
        self.seen: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        self.seen.append(request)
        content = request.messages[-1]["content"]
        first = content[0].get("text", "")
        if first == "refuse me":
            yield Failed(RequestError("must be kinder", "messages[0].content[0].text"))
            return
        if first == "fail":
            raise RuntimeError("cannot open /secret/place/model.safetensors")
        number = 0
        yield TextDelta(f"Turn {len(request.messages)} <b>not bold</b>: ")
        for part in content:
            if part["type"] == "text":
                for word in part["text"].split(" "):
                    yield TextDelta(word + " ")
                continue
            yield MediumBegun(number, part["type"])
            yield Progress(number, 1, 2, part["value"] if request.settings.preview_every else None)
            yield Progress(number, 2, 2)
            yield MediumDone(number, part["type"], part["value"])
            number += 1
        yield Finished(len(content), len(content))

    async def stats(self) -> dict[str, dict[str, float]]:
        return {"": {"requests_under_way": 0}}

    async def ready(self) -> bool:
        return True


class Maker(Echo):
    """Says what it was asked, and makes the medium that the reply must hold, if any."""

    MADE: ClassVar[dict[str, Any]] = {
        "image": Image.new("RGB", (8, 8), "blue"),
        "audio": (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32),
        "video": np.full((8, 16, 16, 3), 90, np.uint8),
    }

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ServerEvent, None]:
        self.seen.append(request)
        settings = request.settings
        if "text" in settings.modalities:
            texts = [part["text"] for part in request.messages[-1]["content"] if part["type"] == "text"]
            for word in f"You said: {' '.join(texts)}".split(" "):
                yield TextDelta(f"{word} ")
        if settings.required is not None:
            yield MediumBegun(0, settings.required)
            if settings.preview_every:
                yield Progress(0, 1, 2, self.MADE[settings.required])
            yield MediumDone(0, settings.required, self.MADE[settings.required])
        yield Finished(4, 5, "length" if settings.max_tokens == 1 else "stop")


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def address(served: Any, echo: Any) -> Iterator[str]:
    """Where the echo is served."""
    from codi2_model.serving.http.api import build_api

    with served(build_api(echo)) as found:
        yield found


@pytest.fixture
def opened(address: str, page: Any) -> Any:
    """The page of a server that echoes, in a fresh browser."""
    page.open(address + "/")
    page.wait_for("document.querySelector('#model').textContent === 'codi2-tiny'")
    return page


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A picture, a sound and a clip."""
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 60).save(tmp_path / "apple.png")
    soundfile.write(tmp_path / "drum.wav", 0.2 * np.sin(np.arange(8000) / 9), 16_000)
    frames = np.stack([np.full((32, 32, 3), 20 * n, np.uint8) for n in range(8)])
    (tmp_path / "clip.mp4").write_bytes(encode_video(frames))
    return [tmp_path / name for name in ("apple.png", "drum.wav", "clip.mp4")]
