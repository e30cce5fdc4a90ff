"""A small build with hostile captions, made by the pipeline from real pictures and sounds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

from codi2_datasets import build as library
from codi2_datasets.corpora import RejectedRow, SourceRow, corpora

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@dataclass(frozen=True)
class Hostile:
    source: str
    name: str = "hostile"
    version: str = "1"
    companions: tuple[str, ...] = ()
    licence: str = "CC-BY-4.0"
    description: str = "Captions that would rather be scripts"
    tasks: tuple[str, ...] = ("text_to_image",)
    size: str = "100 images, 6 sounds"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        draw = np.random.default_rng(0)
        for n in range(100):
            buffer = io.BytesIO()
            colour = tuple(int(value) for value in draw.integers(0, 255, 3))
            Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).resize((64, 64)).save(buffer, "PNG")
            attributes = {"concept": f"thing {n // 2}", "family": f"thing {n // 2}", "tone": 0}
            attributes["style"] = "ink" if n % 2 else "oil"
            caption = HOSTILE if n % 10 == 0 else f"thing {n} of {colour}"
            yield SourceRow(self.name, f"{n:03d}.png", "image", buffer.getvalue(), "image/png", self.licence, HOSTILE,
                            caption, attributes)  # fmt: skip
        for n in range(6):
            buffer = io.BytesIO()
            soundfile.write(buffer, 0.2 * draw.standard_normal(4_000), 16_000, format="WAV")
            attributes = {"concept": f"noise {n}", "family": f"noise {n}", "kind": "sound"}
            yield SourceRow(self.name, f"{n}.wav", "audio", buffer.getvalue(), "audio/wav", self.licence, "us", f"noise {n}",
                            attributes)  # fmt: skip
        yield RejectedRow(self.name, "broken.png", f"nothing in it {HOSTILE}")


@pytest.fixture(scope="session")
def browsed(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("browse")
    (folder / "source").mkdir()
    corpora()["hostile"] = Hostile(f"file:{folder / 'source'}")
    tasks = {
        "text_to_image": {"train": 40, "test": 5},
        "exemplar_learning": {"train": 30},
        "text_to_audio": {"train": 12},
    }
    said = {"name": "hostile", "seed": 1, "corpora": [{"name": "hostile"}], "image": {"size": 32}, "tasks": tasks}
    said["splits"] = {"test_concepts": 0.2}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(said))
    library.build(library.Settings(str(folder / "recipe.yaml"), str(folder / "root"), workers=2))
    del corpora()["hostile"]  # what lists the corpora must not see it
    yield folder / "root"
