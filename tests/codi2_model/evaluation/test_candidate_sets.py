"""Candidate sets: modality, differing property, results of other edits."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codi2_datasets.media.audio import encode_audio
from codi2_datasets.media.image import encode_image
from codi2_model.evaluation.bench.candidate_media import read_media
from codi2_model.evaluation.bench.candidate_sets import CandidateSets
from codi2_model.evaluation.bench.nearest import cosines
from codi2_model.evaluation.bench.other_edits import known_edits, other_edits
from codi2_model.evaluation.bench.questions import Question
from codi2_model.evaluation.data import LoadedSample, SampleRow
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

WAVE = (0.4 * np.sin(np.arange(16_000) / 9) * np.linspace(1, 0, 16_000)).astype(np.float32)


def drawn(name: str, concept: str, style: str, **about: Any) -> dict[str, Any]:
    attributes = {"concept": concept, "family": "cook", "style": style}
    return {"asset_id": name, "modality": "image", "attributes": json.dumps(attributes), "near": name, **about}


def derived(name: str, op: str, params: str, source: str, modality: str = "audio") -> dict[str, Any]:
    about = {"asset_id": name, "modality": modality, "op": op, "params": params, "inputs": [source]}
    return {**about, "split": "test", "near": name}


ASSETS = [
    drawn("truth", "man cook", "flat"), drawn("source", "woman cook", "flat"), drawn("tone", "cook: dark", "flat"),
    drawn("style", "man cook", "pencil"), drawn("double", "man cook", "round", near="truth"),
    drawn("neither", "woman cook", "pencil"),
    {"asset_id": "bell", "modality": "audio", "attributes": '{"concept": "cook", "family": "cook"}', "near": "bell"},
    derived("bell echo", "echo", '{"delay":0.25,"decay":0.5,"repeats":3}', "bell"),
    derived("bell back", "reverse", "{}", "bell"),
    derived("drum quiet", "gain", '{"factor":0.25}', "drum"),
    derived("seen", "resize", '{"scale": 0.5}', "bell", "image"),
]  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    root: Path = tmp_path_factory.mktemp("candidates")
    rows = []
    with tarfile.open(root / "assets.tar", "w") as tar:
        for number, asset in enumerate(ASSETS):
            image = np.full((16, 16, 3), 20 * number, np.uint8)
            data = encode_image(image) if asset["modality"] == "image" else encode_audio(WAVE * (number + 1) / 20)
            info = tarfile.TarInfo(f"{number}.bin")
            info.size = len(data)
            offset = tar.offset + 512
            tar.addfile(info, io.BytesIO(data))
            rows.append({**asset, "shard": "assets.tar", "offset": offset, "bytes": len(data)})
    with Writer(Store(str(root)), "b1", "build", info={"created_at": "2026-01-01"}) as writer:
        writer.append("assets", rows)
        writer.append("samples", [{"build_id": "b1", "sample_id": "s", "task": "t", "split": "test"}])
        writer.append("parts", [{"build_id": "b1", "sample_id": "s", "turn": 0, "position": 0, "modality": "text"}])
    return Catalog(str(root))


def edits(catalog: Catalog, modality: str, truth: str, source: str, value: Any) -> tuple[list[str], Any]:
    row = SampleRow(
        "s",
        "image_editing",
        "test",
        "",
        "",
        {"family": "cook", "style": "flat", "concept": "man cook", "relation": "x"},
    )
    question = Question(LoadedSample(row, [], []), modality, value, truth, value, source)
    choices = CandidateSets(catalog, "b1", [row], seed=0).choices([question])
    return choices.lists[question.key].get("edit@1", []), choices


def test_a_drawn_edit_has_its_family_in_the_same_style_or_of_the_same_concept_as_candidates(catalog: Catalog) -> None:
    listed, choices = edits(catalog, "image", "truth", "source", Image.new("RGB", (16, 16)))
    assert listed[:2] == ["truth", "source"] and set(listed[2:]) == {
        "tone",
        "style",
    }  # no near-duplicate, nothing heard
    styles = choices.lists["s:image"]["style@1"]
    assert styles[0] == "truth" and "style" in styles and "neither" not in styles


@pytest.mark.parametrize(("truth", "sibling"), [("bell echo", "bell back"), ("bell", "bell echo")])
def test_a_sound_has_other_edits_of_its_origin_and_of_its_input_as_candidates(
    catalog: Catalog, truth: str, sibling: str
) -> None:
    listed, choices = edits(catalog, "audio", truth, "input", WAVE)
    assert listed[:2] == [truth, "input"] and sibling in listed and "seen" not in listed
    media = [choices.media[name] for name in listed if name not in choices.values and name != "input"]
    assert all(value.ndim == 1 for value in read_media(catalog.store, media).values())
    assert set(choices.values) == {name for name in listed if name.startswith("input ")} and choices.values


def test_what_is_brought_back_has_the_other_media_of_the_conversation_as_candidates(catalog: Catalog) -> None:
    row = SampleRow("s", "multi_turn", "test", "", "", {"relation": "recall undo"})
    shown = [{"type": "image", "asset_id": name, "value": None} for name in ("source", "truth", "style", "truth")]
    prompt = [{"role": "user", "content": [{"type": "text", "text": "Undo it."}, *shown]}]
    question = Question(LoadedSample(row, prompt, []), "image", Image.new("RGB", (16, 16)), "truth")
    choices = CandidateSets(catalog, "b1", [row], seed=0).choices([question])
    assert choices.lists[question.key]["recall@1"] == ["truth", "source", "style"]
    assert "edit@1" not in choices.lists[question.key]


def test_edits_are_made_from_the_input_and_none_is_the_truth(catalog: Catalog) -> None:
    known = known_edits(catalog, "b1")
    assert {op for op, _ in known["audio"]} == {"echo", "reverse", "gain"}
    made = other_edits(WAVE, WAVE[::-1].copy(), known["audio"], 5, seed=0)
    assert sorted(name.split()[0] for name in made) == ["echo", "gain"]
    assert np.abs(made['gain {"factor":0.25}']).max() == pytest.approx(np.abs(WAVE).max() / 4, rel=1e-3)
    assert len(other_edits(WAVE, WAVE, known["audio"], 1, seed=0)) == 1


def test_thumbnails_are_compared_where_both_sides_have_one() -> None:
    train = [np.array([1.0, 0, 0]), None, np.array([0, 1.0, 0]), np.zeros(2)]
    result = cosines([np.array([2.0, 0, 0]), None], train)
    assert result[0, 0] > result[0, 2] and result[0, 1] == result[0, 3] == 0 and not result[1].any()
