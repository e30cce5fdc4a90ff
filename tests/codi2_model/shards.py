"""Small synthetic shards of shapes and tones in the exact sample format, so that tests need no corpus.

`write_shards(root)` makes seven tasks in three splits. Concepts are (colour, shape) or (pitch, wave) pairs; styles are
drawing manners. Validation and test hold (concept, style) pairs that train never shows.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from codi2_datasets.formats.sample import EXTENSIONS, Message, Part, Sample
from codi2_datasets.media.video import encode_video

COLOURS = {
    "red": "#d32f2f",
    "green": "#388e3c",
    "blue": "#1976d2",
    "yellow": "#fbc02d",
    "purple": "#7b1fa2",
    "black": "#222",
}
SHAPES = ("circle", "square", "triangle", "cross", "bar", "ring")
STYLES = ("flat", "outline", "night")
PITCHES = {"low": 220.0, "middle": 440.0, "high": 880.0}
WAVES = ("sine", "square", "saw")
RATE = 16_000


@dataclass(frozen=True)
class Medium:
    """An encoded image or audio."""

    modality: str
    data: bytes

    @property
    def asset_id(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@cache
def picture(colour: str, shape: str, style: str, size: int = 64) -> Medium:
    paper, ink = ("#101020", COLOURS[colour]) if style == "night" else ("white", COLOURS[colour])
    image = Image.new("RGB", (size, size), paper)
    pen = ImageDraw.Draw(image)
    low, high, middle = size // 6, size - size // 6, size // 2
    line = {"outline": ink, "width": size // 12} if style == "outline" else {"fill": ink}
    if shape == "circle":
        pen.ellipse((low, low, high, high), **line)
    elif shape == "square":
        pen.rectangle((low, low, high, high), **line)
    elif shape == "triangle":
        pen.polygon(((middle, low), (high, high), (low, high)), **line)
    elif shape == "ring":
        pen.ellipse((low, low, high, high), **line)
        pen.ellipse((middle - 8, middle - 8, middle + 8, middle + 8), fill=paper)
    elif shape == "bar":
        pen.rectangle((low, middle - 8, high, middle + 8), **line)
    else:
        pen.line((low, low, high, high), fill=ink, width=size // 8)
        pen.line((low, high, high, low), fill=ink, width=size // 8)
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=True)
    return Medium("image", out.getvalue())


def _wave(pitch: str, wave: str, seconds: float) -> np.ndarray:
    turn = np.arange(int(RATE * seconds)) / RATE * PITCHES[pitch]
    curves = {"sine": np.sin(2 * np.pi * turn), "square": np.sign(np.sin(2 * np.pi * turn)), "saw": 2 * (turn % 1) - 1}
    return 0.3 * curves[wave] * np.linspace(1.0, 0.2, turn.size)


def _flac(values: np.ndarray) -> Medium:
    out = io.BytesIO()
    soundfile.write(out, np.round(np.clip(values, -1, 1) * 32767).astype(np.int16), RATE, format="FLAC")
    return Medium("audio", out.getvalue())


@cache
def sound(pitch: str, wave: str, seconds: float = 1.0) -> Medium:
    return _flac(_wave(pitch, wave, seconds))


@cache
def mixture(first: tuple[str, str], second: tuple[str, str]) -> Medium:
    return _flac((_wave(*first, 1.0) + _wave(*second, 1.0)) / 2)


@cache
def moving(colour: str, shape: str) -> Medium:
    """A video of a shape that moves across the image in a second."""
    with Image.open(io.BytesIO(picture(colour, shape, "flat").data)) as image:
        frame = np.asarray(image.convert("RGB"))
    return Medium("video", encode_video(np.stack([np.roll(frame, 8 * n, axis=1) for n in range(8)])))


def make_sample(
    task: str, split: str, turns: list[tuple[str, list[str | tuple[Medium, str]]]], seed: int, **meta: str
) -> tuple[Sample, dict[str, Medium]]:
    """Build a sample: number its parts, name its members, mark assistant parts as targets."""
    members: dict[str, Medium] = {}
    messages, position = [], 0
    for role, pieces in turns:
        content = []
        for piece in pieces:
            target = role == "assistant"
            if isinstance(piece, str):
                content.append(Part("text", text=piece, target=target))
            else:
                medium, icl_role = piece
                name = f"{position:03d}.{EXTENSIONS[medium.modality]}"
                members[name] = medium
                content.append(Part(medium.modality, None, name, medium.asset_id, icl_role, target))  # type: ignore[arg-type]
            position += 1
        messages.append(Message(role, tuple(content)))  # type: ignore[arg-type]
    identity = f"{task} {split} {seed} {[(m.role, [(p.text, p.asset_id) for p in m.content]) for m in messages]}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:24]
    holdout = "" if split == "train" else "combination"
    return Sample(key, task, split, tuple(messages), "CC0-1.0", seed, holdout, dict(meta)), members  # type: ignore[arg-type]


def _samples(task: str, split: str, count: int, rng: np.random.Generator) -> Iterator[tuple[Sample, dict[str, Medium]]]:
    concepts = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    tones = [(pitch, wave) for pitch in PITCHES for wave in WAVES]

    def allowed(concept: int, style: int) -> bool:  # one (concept, style) pair in seven is held out
        return ((concept * 3 + style) % 7 == 0) == (split != "train")

    pairs = [(c, s) for c in range(len(concepts)) for s in range(len(STYLES)) if allowed(c, s)]
    for number in range(count):
        concept, style = pairs[rng.integers(len(pairs))]
        colour, shape = concepts[concept]
        other = STYLES[(style + 1 + rng.integers(len(STYLES) - 1)) % len(STYLES)]
        name, manner = f"{colour} {shape}", STYLES[style]
        target, source = (picture(colour, shape, manner), "target"), (picture(colour, shape, other), "query")
        tone, extra = tones[rng.integers(len(tones))], tones[rng.integers(len(tones))]
        turns: list[tuple[str, list[str | tuple[Medium, str]]]]
        meta = {"concept": name, "style": manner}
        if task == "text_to_image":
            turns = [("user", [f"Draw a {name} in {manner} style."]), ("assistant", [target])]
        elif task == "image_captioning":
            turns = [("user", [(target[0], "query"), "What is this?"]), ("assistant", [f"{name}, {manner}"])]
        elif task == "image_editing":
            turns = [("user", ["Turn ", source, f" into {manner} style."]), ("assistant", [target])]
        elif task == "exemplar_learning":
            demo_colour, demo_shape = concepts[rng.integers(len(concepts))]
            demo = (picture(demo_colour, demo_shape, other), "demo_input")
            demo_output = (picture(demo_colour, demo_shape, manner), "demo_output")
            words = ["We apply a concept to ", demo, " and got ", demo_output, ". Apply it to ", source]
            turns = [("user", words), ("assistant", [target])]
        elif task == "text_to_audio":
            meta = {"concept": " ".join(tone), "style": "tone"}
            turns = [("user", [f"Play a {tone[0]} {tone[1]} tone."]), ("assistant", [(sound(*tone), "target")])]
        elif task == "audio_editing":
            meta = {"concept": " ".join(extra), "style": "tone"}
            words = [f"Add a {extra[0]} {extra[1]} tone to ", (sound(*tone), "query")]
            turns = [("user", words), ("assistant", [(mixture(tone, extra), "target")])]
        elif task == "text_to_video":
            turns = [("user", [f"Move a {name}."]), ("assistant", [(moving(colour, shape), "target")])]
        else:
            turns = [("user", [f"Which colour has the {name}?"]), ("assistant", [f"It is {colour}."])]
        yield make_sample(task, split, turns, seed=number, **meta)


TASKS = (
    "text_to_image", "image_captioning", "image_editing", "exemplar_learning", "text_to_audio", "audio_editing",
    "text_instruction",
)  # fmt: skip
WITH_CLIPS = (*TASKS, "text_to_video")


def write_tar(path: Path, samples: list[tuple[Sample, dict[str, Medium]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample, members in samples:
            files = {"json": sample.to_json().encode(), **{name: medium.data for name, medium in members.items()}}
            for name, data in files.items():
                info = tarfile.TarInfo(f"{sample.sample_id}.{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write_shards(
    root: Path,
    tasks: tuple[str, ...] = TASKS,
    train: int = 48,
    held_out: int = 16,
    per_shard: int = 32,
    seed: int = 0,
) -> list[str]:
    """Write `train` samples per task, and `held_out` each for validation and test. Returns the sorted shard paths."""
    paths = []
    for task in tasks:
        for split, count in (("train", train), ("validation", held_out), ("test", held_out)):
            rng = np.random.default_rng([seed, WITH_CLIPS.index(task), len(split)])
            samples = list(_samples(task, split, count, rng))
            for index in range(0, count, per_shard):
                part = samples[index : index + per_shard]
                digest = hashlib.sha256("".join(s.sample_id for s, _ in part).encode()).hexdigest()[:16]
                path = root / "shards" / task / f"{split}-{index // per_shard:05d}-{digest}.tar"
                write_tar(path, part)
                paths.append(str(path))
    return sorted(paths)
