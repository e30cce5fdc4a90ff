"""Published suites end to end, with small random judges in the format of transformers and data in the published formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from codi2_model.evaluation.answering import GenerationSettings
from codi2_model.evaluation.suites import SuiteError, audiocaps, cobsat, coco30k, dreambench, suites
from codi2_model.evaluation.suites.networks import Networks, WeightsMissing
from codi2_model.evaluation.suites.running import run_suite
from codi2_model.evaluation.suites.spool import Spool
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.host.folders import cache_home

FEW = GenerationSettings(batch_size=4, max_new_tokens=4, steps=2)
RATE = 16_000
PREPROCESSOR = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache for every test."""
    monkeypatch.setenv("CODI2_CACHE", str(tmp_path / "cache"))
    return cache_home()


def test_a_spool_gives_back_what_was_put(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    image, wave = Image.new("RGB", (3, 2), "red"), np.linspace(-1, 1, 9, dtype=np.float32)
    spool.put("a/1", image)
    spool.put("a/2", wave)
    spool.put("a/3", None, "too long")
    assert spool.get("a/1").tobytes() == image.tobytes() and np.array_equal(spool.get("a/2"), wave)
    assert spool.get("a/3") is None and spool.reason("a/3") == "too long" and spool.reason("a/1") == ""
    assert [spool.has(f"a/{n}") for n in range(5)] == [False, True, True, True, False]
    assert [spool.has_answer(f"a/{n}") for n in range(5)] == [False, True, True, False, False]


# --- judges ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    save_clip(folder / "clip")
    save_dino(folder / "dino")
    save_vision(folder / "inception")
    save_clap(folder / "clap")
    save_classifier(folder / "audio_classifier")
    return folder


def save_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = {"<|startoftext|>": 0, "<|endoftext|>": 1} | {chr(97 + n): n + 2 for n in range(26)}
    letters |= {f"{chr(97 + n)}</w>": n + 28 for n in range(26)}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**small, "vocab_size": len(letters), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=24
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab=letters, merges=[], model_max_length=77).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    (folder / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, **sizes}))


def save_dino(folder: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, "size": {"height": 32, "width": 32}}))


def save_vision(folder: Path) -> None:
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, "size": {"height": 32, "width": 32}}))


def save_clap(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "dog": 5, "rain": 6, "bell": 7}
    base = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=base, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    text = {
        "vocab_size": 8,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
    }
    audio = {
        "hidden_size": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2],
        "num_hidden_layers": 2, "window_size": 4, "spec_size": 64, "num_mel_bins": 16, "patch_size": 4,
        "patch_stride": [4, 4], "enable_fusion": False, "projection_dim": 16,
    }  # fmt: skip
    config = ClapConfig(
        text_config={**text, "projection_dim": 16, "max_position_embeddings": 34}, audio_config=audio, projection_dim=16
    )
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=48_000, max_length_s=2, truncation="rand_trunc", padding="repeatpad"
    ).save_pretrained(folder)


def save_classifier(folder: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    config = ASTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, max_length=128,
        num_mel_bins=32, num_labels=5,
    )  # fmt: skip
    ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=32, max_length=128).save_pretrained(folder)


# --- data --------------------------------------------------------------------------------------------------------


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def sound(path: Path, hertz: float, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate), rate)


@pytest.fixture(scope="module")
def dreambooth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("dreambooth")
    for seed, name in enumerate(("dog2/00.jpg", "dog2/01.jpg", "dog2/02.jpg", "can/00.jpg", "can/01.jpg")):
        picture(data / name, seed)
    lines = ["Classes", "", "subject_name,class", "can,can", "dog2,dog", "", "Prompts", ""]
    for title, place in (("Object Prompts", "on a rug"), ("Live Subject Prompts", "in a hat")):
        lines += [title, "", "prompt_list = ["]
        lines += [f"'a {{0}} {{1}} {place} {n}'.format(unique_token, class_token)," for n in range(25)] + ["]", ""]
    (data / "prompts_and_classes.txt").write_text("\n".join(lines))
    return data


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("coco")
    images, annotations = [], []
    for n in range(6):
        picture(data / "val2014" / f"COCO_val2014_{n:012d}.jpg", n)
        images.append({"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg"})
        annotations += [
            {"id": 10 * n + k, "image_id": n, "caption": f"A dog number {n} seen {k} times. "} for k in range(5)
        ]
    (data / "annotations").mkdir()
    (data / "annotations" / "captions_val2014.json").write_text(
        json.dumps({"images": images, "annotations": annotations})
    )
    return data


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("audiocaps")
    with (data / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["audiocap_id", "youtube_id", "start_time", "caption"])
        for n in range(8):
            writer.writerow([n, f"clip-{n // 2}", 30, f"a dog, and then a bell {n}"])
    for n in range(3):  # the fourth clip could not be fetched
        sound(data / "audio" / f"clip-{n}_30.wav", 200.0 * (n + 1), 44_100)
    return data


@pytest.fixture(scope="module")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("audit")
    lines = []
    for n, task in enumerate(("add", "add", "drop", "drop", "replace", "replace")):
        sound(data / f"in{n}.wav", 200.0 + 50 * n)
        sound(data / f"out{n}.wav", 400.0 + 50 * n)
        row = {"id": n, "task": task, "instruction": f"{task} a bell", "input": f"in{n}.wav", "target": f"out{n}.wav"}
        lines.append(json.dumps(row))
    (data / "audit.jsonl").write_text("\n".join(lines))
    return data


@pytest.fixture(scope="module")
def cobsat_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("cobsat")
    for detail, thing in cobsat.PAIRS:
        for n, first in enumerate(cobsat.ITEMS[detail]):
            for m, second in enumerate(cobsat.ITEMS[thing]):
                path = data / "datasets" / f"{detail}_{second}" / f"{first}_{second}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (25 * n, 25 * m, 0)).save(path)
    return data


# --- the suites --------------------------------------------------------------------------------------------------


def figures(result: Any) -> dict[tuple[str, str, str | None], dict[str, Any]]:
    return {(row["task"], row["metric"], row["baseline"]): row for row in result.rows}


def test_five_suites_are_found_by_their_files() -> None:
    assert list(suites()) == ["audiocaps", "audit", "cobsat", "coco30k", "dreambench"]


def test_dreambench_has_four_pictures_a_prompt_and_both_protocols(
    checkpoint: Path, weights: Path, dreambooth: Path, tmp_path: Path, cache: Path
) -> None:
    asked = dreambench.requests(dreambooth, None, 0)
    assert len(asked) == 2 * 25 * 4 and len({request.group for request in asked}) == 50
    assert {request.about["words"] for request in asked} >= {"a can on a rug 0", "a dog in a hat 24"}
    result = run_suite("dreambench", checkpoint, str(tmp_path), dreambooth, weights, limit=3, settings=FEW)
    spooled = {path: path.stat().st_mtime_ns for path in (cache / "suites" / result.run_id).iterdir()}
    assert len(spooled) == 12
    again = run_suite("dreambench", checkpoint, str(tmp_path), dreambooth, weights, limit=3, settings=FEW)
    assert again == result and spooled == {path: path.stat().st_mtime_ns for path in spooled}
    found = figures(result)
    for metric in ("dino_all", "dino_shown", "clip_i_all", "clip_i_shown", "clip_t"):
        row = found[("subject_driven", metric, None)]
        assert row["n"] == 3 and -1 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert found[("subject_driven", "answered", None)]["n"] == 12
    stored = Catalog(str(tmp_path)).sql("select * from metrics where suite = 'published:dreambench'")
    assert len(stored) == len(result.rows) and Path(result.page).is_file()


def test_dreambench_scores_the_subject_itself_as_it_should(weights: Path, dreambooth: Path) -> None:
    asked = dreambench.requests(dreambooth, 2, 0)
    shown = [dreambench.cached_image(dreambench.image_files(dreambooth, r.about["subject"])[0]) for r in asked]
    scores = {(f.metric, f.baseline): f.scores for f in dreambench.score(dreambooth, asked, shown, Networks(weights))}
    for judge in ("dino", "clip_i"):
        assert list(scores[(f"{judge}_shown", None)].values()) == pytest.approx([1, 1], abs=1e-5)
        assert scores[(f"{judge}_all", None)] == pytest.approx(scores[(f"{judge}_all", "copy_input")], abs=1e-5)
    none = {
        f.metric: f.scores
        for f in dreambench.score(dreambooth, asked, [None] * len(asked), Networks(weights))
        if not f.baseline
    }
    assert all(set(by.values()) == {0.0} for by in none.values())


def test_cobsat_asks_with_words_and_pictures_in_turn(
    checkpoint: Path, weights: Path, cobsat_data: Path, tmp_path: Path
) -> None:
    asked = cobsat.requests(cobsat_data, 1, 0)
    assert len(asked) == 10 * 4 and len({request.task for request in asked}) == 40
    four = next(request for request in asked if request.task == "02_object_color_4shot")
    content = four.prompt[0]["content"]
    assert [part["type"] for part in content] == ["text", "image", "text"] * 4 + ["text"]
    assert content[-1]["text"] == f"{four.about['word']}: "
    colours = {round(part["value"].getpixel((4, 4))[0] / 25) for part in content if part["type"] == "image"}
    assert len(colours) == 1  # the pictures share the colour, whatever they show
    assert len(cobsat.prompt_lists(cobsat_data)) == 1000
    result = run_suite("cobsat", checkpoint, str(tmp_path), cobsat_data, weights, limit=1, settings=FEW)
    found = figures(result)
    for metric, chance in (("object_accuracy", 0.1), ("detail_accuracy", 0.1), ("both_accuracy", 0.01)):
        assert found[("02_object_color_4shot", metric, None)]["value"] in (0, 1)
        assert found[("02_object_color_4shot", metric, "chance")]["value"] == chance


def test_coco_takes_one_caption_a_picture(checkpoint: Path, weights: Path, coco: Path, tmp_path: Path) -> None:
    asked = coco30k.requests(coco, 4, 0)
    assert len(asked) == 4 and len({request.about["file"] for request in asked}) == 4
    result = run_suite("coco30k", checkpoint, str(tmp_path), coco, weights, limit=4, settings=FEW)
    found = figures(result)
    assert found[("text_to_image", "clip_score", None)]["n"] == 4
    assert found[("text_to_image", "fid_other_network", None)]["value"] > 0
    same = coco30k.score(coco, asked, [coco30k.real_image(coco, request) for request in asked], Networks(weights))
    assert next(f.value for f in same if f.metric == "fid_other_network") == pytest.approx(0, abs=1e-4)
    own, real = (
        next(f.scores for f in same if f.metric == "clip_score" and f.baseline == who) for who in (None, "real")
    )
    assert own == real and coco30k.clip_score(-0.3) == 0 and coco30k.clip_score(0.3) == 0.75


def test_audiocaps_takes_the_clips_that_are_there(
    checkpoint: Path, weights: Path, captions: Path, tmp_path: Path
) -> None:
    asked = audiocaps.requests(captions, None, 0)
    assert [request.key for request in asked] == ["clip-0_30", "clip-1_30", "clip-2_30"]
    result = run_suite("audiocaps", checkpoint, str(tmp_path), captions, weights, settings=FEW)
    found = figures(result)
    for metric in ("clap", "kl", "lsd", "fd", "fad_clap"):
        assert np.isfinite(found[("text_to_audio", metric, None)]["value"])
    assert ("text_to_audio", "clap", "real") in found


def test_audit_measures_each_edit_beside_the_input(
    checkpoint: Path, weights: Path, triplets: Path, tmp_path: Path
) -> None:
    result = run_suite("audit", checkpoint, str(tmp_path), triplets, weights, settings=FEW)
    found = figures(result)
    for task in ("add", "drop", "replace"):
        for metric in ("lsd", "fd", "kl"):
            assert found[(task, metric, None)]["n"] == found[(task, metric, "copy_input")]["n"] == 2


# --- what is missing ---------------------------------------------------------------------------------------------


def test_missing_data_judges_and_modalities_are_named(
    checkpoint: Path, deaf_checkpoint: Path, weights: Path, triplets: Path, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match="no suite 'nope'; available: quick, open, audiocaps"):
        run_suite("nope", checkpoint, str(tmp_path), triplets, weights)
    with pytest.raises(SuiteError, match=r"needs --data .*and --weights .*audio_classifier"):
        run_suite("audit", checkpoint, str(tmp_path), None, weights)
    with pytest.raises(SuiteError, match="needs audio, which this model does not generate"):
        run_suite("audit", deaf_checkpoint, str(tmp_path), triplets, weights)
    with pytest.raises(WeightsMissing, match="audio_classifier: missing; expected an ASTForAudioClassification"):
        run_suite("audit", checkpoint, str(tmp_path), triplets, tmp_path)
    with pytest.raises(SuiteError, match=r"audit\.jsonl: missing"):
        run_suite("audit", checkpoint, str(tmp_path), tmp_path, weights)
    (tmp_path / "audit.jsonl").write_text('{"id": 1, "task": "mend"}')
    with pytest.raises(SuiteError, match="row 1: expected the fields id, task"):
        run_suite("audit", checkpoint, str(tmp_path), tmp_path, weights)
