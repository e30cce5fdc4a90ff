"""Datasets built from published corpora: every task that a connector names, deltas, limits, and the recipe `paper`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from codi2_datasets import build as library
from codi2_datasets.connectors import connectors
from codi2_datasets.recipe import load_recipe
from codi2_datasets.recipe_schema import RecipeError
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.lineage import explain
from codi2_storage.commits.manifests import commits
from codi2_storage.store import Store

HELD = {"licence": "LicenseRef-research"}
ALL_TRAIN = {"test_concepts": 0.0, "validation_concepts": 0.0, "test_combinations": 0.0, "validation_combinations": 0.0}
SHOWN = """
    with shown as (
        select sample_id, asset_id from parts where asset_id is not null
        union all
        select p.sample_id, unnest(a.inputs) from parts p join assets a using (asset_id) where a.op is not null)"""


def recipe_of(folder: Path, corpora: list[dict[str, Any]], tasks: dict[str, Any], **more: Any) -> str:
    told = {"name": "published", "seed": 1, "image": {"size": 32}, "audio": {"max_seconds": 2.0}, "splits": ALL_TRAIN,
            "signals": [{"op": "length"}], "corpora": corpora, "tasks": tasks, **more}  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(told))
    return str(path)


def rows(root: Path, query: str) -> list[dict[str, Any]]:
    return Catalog(str(root)).sql(query).to_pylist()


@pytest.fixture(scope="module")
def root(published: Path, where: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """A build of every connector's fixture, with every task that any of them names."""
    folder = tmp_path_factory.mktemp("every")
    corpora = [
        {"name": name, "path": f"{published}/{path}", "media": f"{published}/{media}" if media else "", "options": HELD}
        for name, (path, media) in where.items()
        if name in connectors()
    ]
    tasks = {task: {"train": 420} for task in sorted({task for item in connectors().values() for task in item.tasks})}
    tasks["audio_editing"]["options"] = {"kinds": ["add", "remove", "replace"]}  # type: ignore[assignment]
    tasks["text_to_media"]["train"] = 4_000
    library.build(library.Settings(recipe_of(folder, corpora, tasks), str(folder / "root"), workers=2))
    return folder / "root"


@pytest.mark.parametrize("name", list(connectors()))
def test_a_connector_gives_samples_of_each_task_that_it_names(name: str, root: Path) -> None:
    query = f"""{SHOWN} select distinct s.task from shown join samples s using (sample_id)
                join assets a using (asset_id) where a.corpus = '{name}'"""
    assert set(connectors()[name].tasks) <= {row["task"] for row in rows(root, query)}


def test_what_comes_in_comes_out_or_is_rejected(root: Path) -> None:
    assert rows(root, "select count(*) as n from op_runs where rows_in <> rows_out + rejected + failed")[0]["n"] == 0
    difference = "select (select count(*) from rejects) - (select sum(rejected + failed) from op_runs) as n"
    assert rows(root, difference)[0]["n"] == 0
    told = rows(root, "select reason, count(*)::bigint as n from rejects where stage = 'select' group by all")
    assert {row["reason"] for row in told} == {"the same media as another row"}
    counted = rows(root, "select corpus, sum(rows)::bigint as n from corpora group by all")
    assert {row["corpus"] for row in counted} == set(connectors()) and all(row["n"] for row in counted)


def test_a_relation_of_the_corpus_becomes_examples(root: Path) -> None:
    parts = rows(root, """select sample_id, text, icl_role, modality, asset_id, p.position from parts p join samples s using (sample_id)
                          where s.template like 'shown2x1/%' order by sample_id, p.position""")  # fmt: skip
    assert parts
    for name in {part["sample_id"] for part in parts}:
        mine = [part for part in parts if part["sample_id"] == name]
        images = [part["asset_id"] for part in mine if part["modality"] == "image"]
        assert len(set(images)) == 3
        answers = [part["text"] for part in mine if part["icl_role"] in ("demo_output", "target")]
        numbers = [int(answer.rpartition("picture ")[2].rstrip(".")) for answer in answers]
        assert {number % 24 for number in numbers[:2]} == {(numbers[2] + 1) % 24, (numbers[2] + 2) % 24}


def test_the_same_was_done_to_examples_of_edits(root: Path) -> None:
    found = rows(root, """select meta ->> '$.relation' as relation, n_demos from samples
                          where task = 'exemplar_learning' and n_demos > 0 and (meta ->> '$.relation') like 'told:%'""")  # fmt: skip
    assert {row["relation"] for row in found} <= {"told:add snow", "told:make it night", "told:turn the sky red",
                                                  "told:add a hat", "told:make it blue", "told:remove the car"}  # fmt: skip
    assert len(found) > 20


def test_things_are_cut_out_of_the_picture_that_is_asked_for(root: Path) -> None:
    cut = rows(root, """select p.sample_id, a.inputs[1] as whole, a.licence from parts p join assets a using (asset_id)
                        where a.op = 'cut'""")  # fmt: skip
    targets = {row["sample_id"]: row["asset_id"] for row in rows(
        root, "select sample_id, asset_id from parts where target and modality = 'image'")}  # fmt: skip
    assert cut and all(targets[row["sample_id"]] == row["whole"] and "-ND-" not in row["licence"] for row in cut)


def test_a_sample_leads_back_to_the_published_row(root: Path) -> None:
    sample = rows(root, "select sample_id from samples where task = 'image_editing' order by 1 limit 1")[0]["sample_id"]
    told = [part["asset"]["source_row"] for part in explain(str(root), sample)["parts"] if part.get("asset")]
    assert len(told) == 3 and {row["source"] for row in told} <= {connectors()[n].homepage for n in connectors()}
    assert all(row["locator"] and len(row["package_sha256"]) == 64 for row in told)


def test_a_stated_licence_stands_where_there_was_none_to_join_by(root: Path) -> None:
    found = rows(
        root, "select distinct licence, attributes ->> '$.published_licence' as own from assets where op is null"
    )
    held = {row["own"] for row in found if row["licence"] == "LicenseRef-research"}
    assert {"LicenseRef-web", "CC-BY-NC-4.0", "LicenseRef-AudioSet"} <= held
    assert {row["licence"] for row in found if row["own"] is None} >= {
        "CC-BY-ND-2.0",
        "CC-BY-4.0",
        "CC0-1.0",
        "CC-BY-SA-3.0",
    }


# --- deltas, limits, labels --------------------------------------------------------------------------------------


def ingests(root: Path) -> set[str]:
    return {commit.id for commit in commits(Store(str(root)), "ingest")}


def test_a_new_file_costs_its_own_pieces_alone(
    published: Path, fixtures: ModuleType, making: ModuleType, tmp_path: Path
) -> None:
    media = tmp_path / "tars"
    shutil.copytree(published / "laion" / "fetched", media)
    recipe = recipe_of(tmp_path, [{"name": "laion", "media": str(media)}], {"text_to_image": {"train": 99}})
    settings = library.Settings(recipe, str(tmp_path / "root"), workers=1)
    first, before = library.build(settings), ingests(tmp_path / "root")
    assert library.build(settings).build_id == first.build_id
    more = [("https://z.example/1.jpg", making.jpeg(900), {"caption": "one more"})]
    fixtures.fetched(media / "00002.tar", more)
    second = library.build(settings)
    fresh = ingests(tmp_path / "root") - before
    assert second.build_id != first.build_id and second.samples > first.samples
    assert {name.partition("-")[2][0] for name in fresh} == {"f", "p"} and len(fresh) == 2  # piece and partition


def test_a_sound_that_comes_later_is_found_by_the_same_process(
    published: Path, making: ModuleType, tmp_path: Path
) -> None:
    shutil.copytree(published / "esc50", tmp_path / "esc50")
    late = tmp_path / "esc50" / "audio" / "1-1000-A-0.wav"
    kept = late.read_bytes()
    late.unlink()
    recipe = recipe_of(tmp_path, [{"name": "esc50", "path": str(tmp_path / "esc50")}], {"text_to_audio": {"train": 99}})
    settings = library.Settings(recipe, str(tmp_path / "root"), workers=1)
    library.build(settings)
    rejects = "select count(*) as n from rejects where reason = 'its medium is not in the folder'"
    assert rows(tmp_path / "root", rejects)[0]["n"] == 1
    late.write_bytes(kept)
    library.build(settings)
    assert rows(tmp_path / "root", rejects)[0]["n"] == 0


def test_two_workers_and_one_write_the_same_shards(
    root: Path, published: Path, tmp_path: Path, ray_cluster: None
) -> None:
    corpora = [{"name": "mimic-it", "path": f"{published}/mimic-it"}, {"name": "coco", "path": f"{published}/coco/annotations",
               "media": f"{published}/coco/train2017"}]  # fmt: skip
    recipe = recipe_of(tmp_path, corpora, {"text_to_image": {"train": 50}, "exemplar_learning": {"train": 50}})
    names = []
    for workers in (1, 2):
        library.build(library.Settings(recipe, str(tmp_path / str(workers)), workers=workers))
        names.append({path.name: path.read_bytes() for path in (tmp_path / str(workers)).rglob("shards/**/*.tar")})
    assert names[0] == names[1] and len(names[0]) == 2


def test_files_as_they_are_out_there_build_in_folders_of_any_name(making: ModuleType, tmp_path: Path) -> None:
    base = tmp_path / "data [v2]*?" / "c #1"
    shadow = bytes.fromhex("00051607") + bytes(100)
    told = ['{"caption": "a red ball", "attributes": {"score": NaN}}', '{"caption": "null", "attributes": {"tag": "\\ud83d"}}',
            '{"caption": "{caption} [query]", "original_width": Infinity}']  # fmt: skip
    members = [
        member
        for n, words in enumerate(told)
        for member in (
            (f"._{n}.jpg", shadow),
            (f"{n}.jpg", making.jpeg(n)),
            (f"._{n}.json", shadow),
            (f"{n}.json", words),
        )
    ]
    making.tar(base / "tars" / "0 [1].tar", [*members, (".DS_Store", shadow), ("__MACOSX/._0.jpg", shadow)])
    for n, name in enumerate((" a blank first.wav", "b.wav")):
        making.write(base / "clotho" / "development" / name, making.tone(n))
    rows_ = [" a blank first.wav,None,b,c,d,e", 'b.wav,"never closed,b,c,d,e', "gone.wav,a,b,c,d,e"]
    head = "file_name," + ",".join(f"caption_{n}" for n in range(1, 6))
    making.write(base / "clotho" / "clotho_captions_development.csv", "\r\n".join([head, *rows_]))
    making.write(base / "llava" / "cat.JPG", making.jpeg(8))
    talk = [{"from": "human", "value": "Before <image> after"}, {"from": "gpt", "value": "None"}]
    making.write(
        base / "llava" / "x.json", "\n".join([json.dumps({"image": "cat.JPG", "conversations": talk}), "{broken"])
    )
    corpora = [{"name": "webdataset", "path": f"{base}/tars/0 [1].tar", "options": HELD}, {"name": "clotho", "path": f"{base}/clotho"},
               {"name": "llava-instruct", "path": f"{base}/llava", "options": HELD}]  # fmt: skip
    tasks = {task: {"train": 9} for task in ("text_to_image", "text_to_audio", "visual_question_answering")}
    root = base / "root 'q'"
    library.build(library.Settings(recipe_of(tmp_path, corpora, tasks), str(root), workers=1))
    found = rows(root, "select caption, attributes ->> 'tag' as tag, attributes ->> 'score' as score from assets "
                       "where corpus in ('webdataset', 'clotho') order by all")  # fmt: skip
    assert [tuple(row.values()) for row in found] == [
        ('"never closed', None, None), ("None", None, None), ("a red ball", None, None), ("null", "\\ud83d", None),
        ("{caption} [query]", None, None)]  # fmt: skip
    rejected = rows(root, "select subject, reason from rejects where stage = 'ingest' order by 1")
    assert [(row["subject"].rpartition("/")[2], row["reason"]) for row in rejected] == [
        ("clotho_captions_development.csv#2", "its medium is not in the folder"), ("x.json#1", "no JSON")]  # fmt: skip
    parts = rows(root, """select coalesce(text, modality) as said from parts join samples s using (sample_id)
                          where task = 'visual_question_answering' and s.template = 'asked/0' order by position""")  # fmt: skip
    assert [row["said"] for row in parts] == ["Before ", "image", " after", "None"]


def test_limits_and_labels_are_kept(published: Path, tmp_path: Path) -> None:
    corpora = [
        {"name": "alpaca", "path": f"{published}/alpaca", "limit": 5},
        {
            "name": "metaicl",
            "label": "examples",
            "path": f"{published}/metaicl/ag_news/*.jsonl; {published}/metaicl/crossfit",
        },
    ]
    recipe = recipe_of(tmp_path, corpora, {"text_instruction": {"train": 9}, "text_icl": {"train": 9}})
    library.build(library.Settings(recipe, str(tmp_path / "root"), workers=1))
    found = rows(tmp_path / "root", "select corpus, sum(rows)::bigint as n from corpora group by all order by all")
    assert found == [{"corpus": "alpaca", "n": 5}, {"corpus": "examples", "n": 17}]
    assert {row["corpus"]: row["rows"] for row in library.corpus_list(str(tmp_path / "root"))}["alpaca"] == 5


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "laion"}, "laion needs a path: where its published files lie"),
        ({"name": "emoji-noto", "path": "x"}, "emoji-noto is fetched whole, and takes no path"),
        ({"name": "laion", "path": "x", "options": {"colour": 1}}, "laion: unknown option 'colour'; known: licence"),
        ({"name": "laion", "path": "x", "limit": -1}, "laion: limit is -1"),
        ({"name": "laion", "path": "x", "label": "a/b"}, "a/b: label"),
        ({"name": "lion", "path": "x"}, "unknown corpus 'lion'"),
    ],
)
def test_what_is_wrong_with_a_place_is_named(choice: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe_of(tmp_path, [choice], {"text_to_image": {"train": 1}}))


def test_where_files_lie_does_not_name_the_dataset(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published / "dolly", tmp_path / "elsewhere" / "dolly")
    built = []
    for folder in (published, tmp_path / "elsewhere"):
        recipe = recipe_of(tmp_path, [{"name": "dolly", "path": f"{folder}/dolly"}], {"text_instruction": {"train": 9}})
        built.append(library.build(library.Settings(recipe, str(tmp_path / "root"), workers=1)))
    assert built[0].build_id == built[1].build_id and not built[1].fresh


def test_things_are_found_by_a_segmentation_model_of_a_folder(published: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    save_segmenter(model)
    corpora = [{"name": "laion", "media": f"{published}/laion/fetched", "limit": 6, "options": {"segment": str(model)}}]
    recipe = recipe_of(tmp_path, corpora, {"composition": {"train": 9}})
    library.build(library.Settings(recipe, str(tmp_path / "root"), workers=1))
    found = rows(
        tmp_path / "root", "select distinct attributes -> '$.entities[0].name' as name from assets where op is null"
    )
    assert {json.loads(row["name"]) for row in found if row["name"]} == {"red ball"}
    assert rows(tmp_path / "root", "select count(*) as n from parts p join assets using (asset_id) where op = 'cut'")[
        0
    ]["n"]


def save_segmenter(folder: Path) -> None:
    """A real MaskFormer, as small as can be, that is sure of one class; its masks are what they are."""
    import torch
    from transformers import (
        DetrConfig,
        MaskFormerConfig,
        MaskFormerForInstanceSegmentation,
        MaskFormerImageProcessorPil,
        ResNetConfig,
        SwinConfig,
    )

    torch.manual_seed(0)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = SwinConfig(
        image_size=64, embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4, out_features=stages
    )
    small = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    decoder = DetrConfig(
        d_model=32, num_queries=6, use_timm_backbone=False, backbone_config=ResNetConfig(), **small, **heads
    )
    names = {0: "red-ball", 1: "grass"}
    labels = {"id2label": names, "label2id": {name: n for n, name in names.items()}}
    config = MaskFormerConfig(
        backbone_config=swin, decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **labels
    )
    model = MaskFormerForInstanceSegmentation(config)
    with torch.no_grad():
        model.class_predictor.weight.zero_()
        model.class_predictor.bias.copy_(torch.tensor([20.0, 0.0, 0.0]))
    model.save_pretrained(folder)
    MaskFormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 64}, num_labels=2).save_pretrained(folder)


def test_every_caption_of_a_photograph_is_used(root: Path) -> None:
    said = rows(root, """select count(distinct p.text) as n from parts p join samples s using (sample_id)
                         where s.task = 'image_captioning' and p.target and p.text like '%, said %'""")  # fmt: skip
    assert said[0]["n"] > 60


# --- the recipe `paper` ------------------------------------------------------------------------------------------


def test_the_paper_mixture_is_built_from_the_fixtures_alone(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    monkeypatch.setenv("CODI2_PAPER", str(published))
    built = library.build(library.Settings("paper", str(tmp_path), workers=2))
    assert not built.missing
    tasks = {row["task"] for row in rows(tmp_path, "select distinct task from samples where split = 'train'")}
    assert tasks == set(load_recipe("paper").tasks)
    used = {
        row["corpus"]
        for row in rows(tmp_path, f"{SHOWN} select distinct corpus from shown join assets using (asset_id)")
    }
    assert used == {"mimic-it", "laion", "coco", "audioset", "webvid", "instructpix2pix", "alpaca", "metaicl"}
    told = json.loads((tmp_path / "builds" / built.build_id / "statistics.json").read_text())
    assert not any(told["checks"].values())


def test_the_paper_recipe_without_its_corpora_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODI2_PAPER", raising=False)
    prepared = library.prepare(library.Settings("paper", str(tmp_path)))
    assert len(prepared.missing) == 8 and all("CODI2_PAPER is not set" in line for line in prepared.missing)
