"""Fixtures: a tiny CoDi-2 model and conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor

torch.set_num_threads(1)

TEXTS = [
    "We apply a new concept to this picture and got that one. Apply the same concept to the last.",
    "Draw a red dog face in the style of noto.",
    "Add the sound of a duck to the audio.",
    "What do you see? A blue square.",
] * 3
SMALL_DECODER = {"channels": [16, 32], "norm_groups": 8}


def make_config(**overrides: Any) -> CoDi2Config:
    return CoDi2Config.preset(
        "tiny",
        **{
            "vocab_size": 512,
            "llm": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
            "feature_dim": 32,
            "image_encoder": {"width": 32, "depth": 2},
            "audio_encoder": {"width": 32, "depth": 2},
            "text_encoder": {"width": 32, "depth": 1},
            "video_encoder": {"width": 32, "depth": 1, "patch": 8},
            "image_decoder": SMALL_DECODER,
            "audio_decoder": SMALL_DECODER,
            "video_decoder": {"channels": [16, 32], "norm_groups": 8, "patch": 4},
            "video": {"frames": 4, "fps": 4},
            **overrides,
        },
    )


def make_image(colour: str = "red", size: int = 64) -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    ImageDraw.Draw(image).ellipse((size // 8, size // 8, size * 7 // 8, size * 7 // 8), fill=colour)
    return image


def make_sound(pitch: float = 440.0, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(16000 * seconds)) / 16000
    return (0.5 * np.sin(2 * np.pi * pitch * time) * np.exp(-2 * time)).astype(np.float32)


def make_clip(colour: str = "red", seconds: float = 1.0) -> np.ndarray:
    """A video of a growing disc."""
    frames = round(8 * seconds)
    return np.stack([np.asarray(make_image(colour).resize((16 + 4 * n,) * 2).resize((64, 64))) for n in range(frames)])


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **fields}


def image(colour: str = "red", **fields: Any) -> dict[str, Any]:
    return {"type": "image", "value": make_image(colour), **fields}


def audio(pitch: float = 440.0, **fields: Any) -> dict[str, Any]:
    return {"type": "audio", "value": make_sound(pitch), **fields}


def video(colour: str = "red", **fields: Any) -> dict[str, Any]:
    return {"type": "video", "value": make_clip(colour), **fields}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def assistant(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(parts)}


class Parts:
    """The functions above, as one fixture."""

    text, image, audio, video = map(staticmethod, (text, image, audio, video))
    user, assistant = map(staticmethod, (user, assistant))
    config, picture, sound, clip = map(staticmethod, (make_config, make_image, make_sound, make_clip))
    gpu = staticmethod(lambda: CoDi2Config.preset("gpu"))


@pytest.fixture(scope="session")
def parts() -> type[Parts]:
    return Parts


@pytest.fixture(scope="session")
def config() -> CoDi2Config:
    return make_config()


@pytest.fixture(scope="session")
def processor(config: CoDi2Config) -> CoDi2Processor:
    return CoDi2Processor.build(config, TEXTS)


@pytest.fixture(scope="session")
def model(config: CoDi2Config) -> CoDi2ForConditionalGeneration:
    """Shared model; tests that train create their own."""
    return CoDi2ForConditionalGeneration.build(config, seed=1)


@pytest.fixture(scope="session")
def mixed() -> list[list[dict[str, Any]]]:
    """Conversations of all kinds: an edit with a demonstration, audio, text only, several media in a reply, two rounds."""
    return [
        [
            user(
                text("We apply a new concept to "), image("red", icl_role="demo_input"),
                text(" and got "), image("blue", icl_role="demo_output", target=True),
                text(". Apply the same concept to "), image("green", icl_role="query"),
            ),
            assistant(image("yellow", icl_role="target", target=True)),
        ],
        [user(text("Add the sound of a duck to "), audio(300, icl_role="query")), assistant(audio(600))],
        [user(text("What do you see?")), assistant(text("A blue square."))],
        [user(text("Draw a dog and its sound."), image("black")), assistant(text("Here"), image("red"), text("and"), audio(200))],
        [
            user(text("Draw a red dog.")), assistant(image("red")),
            user(text("Now a blue one.")), assistant(text("Here it is: "), image("blue")),
        ],
        [user(text("Let this move: "), image("green"), audio(250)), assistant(video("green"), text("A blue square."))],
    ]  # fmt: skip


@pytest.fixture
def train_steps() -> Callable[..., list[float]]:
    def train(parameters: Any, loss: Callable[[], torch.Tensor], steps: int, lr: float = 3e-3) -> list[float]:
        optimizer = torch.optim.AdamW(list(parameters), lr=lr)
        seen = []
        for _ in range(steps):
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            seen.append(value.item())
        return seen

    return train
