"""Access to shards: equal to the reader of WebDataset and to the processor; errors name the shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset

from codi2_datasets.formats.sample import Part, Sample
from codi2_model import CoDi2Config, CoDi2Processor
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardError, ShardSet, expand
from codi2_model.training.data.sources import (
    CaptionedMedia,
    Conversations,
    DecoderMedia,
    PreparedProcessor,
    caption_of,
    decoder_targets,
    media_parts,
)
from tests.codi2_model.shards import make_sample, picture, sound, write_shards, write_tar


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_shards(tmp_path_factory.mktemp("data"), train=12, held_out=4, per_shard=8)


@pytest.fixture(scope="module")
def processor() -> CoDi2Processor:
    return CoDi2Processor.build(CoDi2Config.preset("tiny"), texts=["Draw a red circle."])


def test_samples_and_members_are_those_that_webdataset_reads(paths: list[str]) -> None:
    shards = ShardSet(paths)
    read = {
        item["__key__"]: item for item in webdataset.WebDataset(paths, shardshuffle=False, empty_check=False) if item
    }
    seen = 0
    for (task, split), records in shards.samples.items():
        for record in records:
            item = read[record.key]
            sample = shards.sample(record)
            assert (sample.task, sample.split) == (task, split)
            assert sample == Sample.from_json(item["json"])
            assert {name: shards.bytes(record, span) for name, span in record.media.items()} == {
                name: value for name, value in item.items() if name[:3].isdigit()
            }
            seen += 1
    assert seen == len(read) == 7 * (12 + 4 + 4)


def test_cached_media_are_exactly_what_the_processor_makes(paths: list[str], processor: CoDi2Processor) -> None:
    shards = ShardSet(paths)
    cache = MediaCache(shards, processor.medium, megabytes=100)
    for task in ("image_editing", "audio_editing"):
        for record in shards.get(task, "train"):
            for part in media_parts(shards.sample(record)):
                right = processor.medium(part.type, shards.medium(record, part))
                assert torch.equal(cache.get(record, part), right)
                assert torch.equal(cache.get(record, part), right)  # from the cache


def test_a_full_cache_still_gives_the_right_media(paths: list[str], processor: CoDi2Processor) -> None:
    shards = ShardSet(paths)
    cache, large = (MediaCache(shards, processor.medium, megabytes) for megabytes in (0, 100))
    record = shards.get("text_to_image", "train")[0]
    part = media_parts(shards.sample(record))[0]
    assert torch.equal(cache.get(record, part), large.get(record, part))


def test_conversations_give_the_batch_that_the_processor_makes_of_the_plain_sample(
    paths: list[str], processor: CoDi2Processor
) -> None:
    shards = ShardSet(paths)
    tasks = ["exemplar_learning", "audio_editing", "text_instruction"]
    source = Conversations(shards, MediaCache(shards, processor.medium, 100), processor, tasks, "train")
    draws = [Draw(task, index, 0) for task in tasks for index in (0, 3)]
    batch = source.load(draws)
    plain = []
    for draw in draws:
        record = shards.get(draw.task, "train")[draw.index]
        messages = shards.sample(record).to_dict()["messages"]
        for message in messages:
            for part in message["content"]:
                if part["type"] != "text":
                    part["value"] = shards.medium(record, Part(**part))
        plain.append(messages)
    expected = processor(plain, training=True, sample_ids=[source.records[d.task][d.index].key for d in draws])
    assert set(batch) == {*expected, "seeds", "assets"}
    for name, value in expected.items():
        assert torch.equal(batch[name], value) if isinstance(value, torch.Tensor) else batch[name] == value
    assert isinstance(source.processor, PreparedProcessor)


def test_captions_are_what_the_other_side_says() -> None:
    drawn, _ = make_sample("text_to_image", "train", [("user", ["Draw a cat."]), ("assistant", ["Here: ", (picture("red", "bar", "flat"), "target")])], 0)  # fmt: skip
    named, _ = make_sample("image_captioning", "train", [("user", [(picture("red", "bar", "flat"), "query"), "What?"]), ("assistant", ["A cat."])], 0)  # fmt: skip
    assert (caption_of(drawn), caption_of(named)) == ("Draw a cat.", "A cat.")


def test_every_medium_is_aligned_once_and_equal_captions_share_a_group(
    paths: list[str], processor: CoDi2Processor
) -> None:
    shards = ShardSet(paths)
    cache = MediaCache(shards, processor.medium, 100)
    source = CaptionedMedia(
        shards, cache, processor, ["text_to_image", "text_to_audio", "exemplar_learning"], "train", 0
    )
    assert source.modalities == ["image", "audio"]
    assert "exemplar_learning" not in source.sizes  # its samples hold several media: no caption belongs to one of them
    tones = {media_parts(shards.sample(r))[0].asset_id for r in shards.get("text_to_audio", "train")}
    assert source.sizes["text_to_audio"] == len(tones) < 12
    batch = source.load([Draw("text_to_image", 0, 0), Draw("text_to_image", 0, 1), Draw("text_to_image", 1, 2)])
    groups = batch["image"]["groups"].tolist()
    assert groups[0] == groups[1] != groups[2]


def test_a_target_has_a_prompt_where_it_follows_from_the_prompt_and_its_references() -> None:
    red, blue, green = (picture(colour, "bar", "flat") for colour in ("red", "blue", "green"))

    def prompts(turns: Any, count: int) -> list[str]:
        sample, _ = make_sample("multi_turn", "train", turns, 0)
        return [prompt for _, _, prompt in decoder_targets(sample, {"image": count})]

    edits = [
        ("user", ["Draw a bar."]), ("assistant", [(red, "target")]),
        ("user", ["Now blue."]), ("assistant", ["Here:", (blue, "target")]),
        ("user", ["And green."]), ("assistant", [(green, "target")]),
    ]  # fmt: skip
    assert prompts(edits, 2) == ["Draw a bar.", "Now blue.", "And green."]
    assert prompts(edits, 1) == ["Draw a bar.", "Now blue.", ""]  # the decoder does not get the first image
    shown = [("user", ["Make ", (red, "query"), " blue."]), ("assistant", [(blue, "target")])]
    assert prompts(shown, 1) == ["Make blue."]
    demonstrated = [
        ("user", [(red, "demo_input"), " becomes ", (blue, "demo_output"), ". ", (green, "query")]),
        ("assistant", [(blue, "target")]),
    ]  # fmt: skip
    assert prompts(demonstrated, 3) == [""]


def test_a_decoder_gets_the_query_as_reference_of_an_edit_and_nothing_else_of_other_samples(
    paths: list[str], processor: CoDi2Processor
) -> None:
    shards = ShardSet(paths)
    for task in ("image_editing", "exemplar_learning", "audio_editing"):
        sample = shards.sample(shards.get(task, "train")[0])
        ((target, references, _),) = decoder_targets(sample, {"image": 1, "audio": 1})
        assert target.icl_role == "target"
        assert [reference.icl_role for reference in references] == ["query"]
        assert list(decoder_targets(sample, {})) == [(target, [], "")]
    captioned = shards.sample(shards.get("image_captioning", "train")[0])
    assert [(p.icl_role, r) for p, r, _ in decoder_targets(captioned, {"image": 1})] == [("query", [])]
    source = DecoderMedia(
        shards, MediaCache(shards, processor.medium, 9), ["text_to_image", "image_editing"], "train", {"image": 2}
    )
    batch = source.load([Draw("text_to_image", 0, 0), Draw("image_editing", 0, 1)])["image"]
    assert batch["present"].tolist() == [[False, False], [True, False]]
    assert batch["references"][0].abs().max() == 0


def test_media_with_a_prompt_are_drawn_from_it_as_often_as_asked(paths: list[str], processor: CoDi2Processor) -> None:
    shards, cache = ShardSet(paths), MediaCache(ShardSet(paths), processor.medium, 9)
    tasks = ["text_to_image", "image_editing"]
    draws = [Draw(task, 0, number) for number in range(40) for task in tasks]
    samples = {task: [shards.sample(record) for record in shards.get(task, "train")] for task in tasks}
    words = {prompt for task in tasks for s in samples[task] for _, _, prompt in decoder_targets(s, {"image": 1})}
    for share, least, most in ((0.0, 0, 0), (0.5, 20, 60), (1.0, 80, 80)):
        source = DecoderMedia(shards, cache, tasks, "train", {"image": 1}, 0, share)
        assert least <= int((source.load(draws)["image"]["prompts"] >= 0).sum()) <= most
        assert set(source.prompts) == (words if share else set())


def test_media_without_a_prompt_are_left_out_where_prompts_are_all(paths: list[str], processor: CoDi2Processor) -> None:
    shards = ShardSet(paths)
    cache = MediaCache(shards, processor.medium, 9)
    tasks = ["text_to_image", "exemplar_learning"]
    halves = DecoderMedia(shards, cache, tasks, "train", {"image": 1}, 0, 0.5)
    assert set(halves.sizes) == set(tasks)
    assert set(DecoderMedia(shards, cache, tasks, "train", {"image": 1}, 0, 1.0).sizes) == {"text_to_image"}


def test_a_truncated_shard_is_named(paths: list[str], tmp_path: Path) -> None:
    whole = Path(paths[0]).read_bytes()
    for cut in (len(whole) // 2, 700):
        short = tmp_path / "train-00000-cut.tar"
        short.write_bytes(whole[:cut])
        with pytest.raises(ShardError, match=r"train-00000-cut\.tar"):
            ShardSet([str(short)])


def test_a_broken_medium_is_named_with_its_shard(tmp_path: Path) -> None:
    sample, members = make_sample("text_to_audio", "train", [("user", ["x"]), ("assistant", [(sound("low", "sine"), "target")])], 0)  # fmt: skip
    members["001.flac"] = type(members["001.flac"])("audio", b"fLaC not really")
    path = tmp_path / "train-0.tar"
    write_tar(path, [(sample, members)])
    shards = ShardSet([str(path)])
    record = shards.get("text_to_audio", "train")[0]
    with pytest.raises(ShardError, match=rf"train-0\.tar: {sample.sample_id}\.001\.flac: cannot be decoded"):
        shards.medium(record, media_parts(sample)[0])


def test_globs_are_expanded_and_what_is_missing_is_named(paths: list[str], tmp_path: Path) -> None:
    folder = Path(paths[0]).parent.parent
    assert expand([str(folder / "*" / "*.tar")]) == paths
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        expand([tmp_path / "nothing-here-*.tar"])


def test_sounds_of_another_rate_are_refused(tmp_path: Path) -> None:
    import io

    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.zeros(100, np.int16), 8000, format="FLAC")
    sample, members = make_sample("text_to_audio", "train", [("user", ["x"]), ("assistant", [(sound("low", "sine"), "target")])], 0)  # fmt: skip
    members["001.flac"] = type(members["001.flac"])("audio", out.getvalue())
    write_tar(tmp_path / "t.tar", [(sample, members)])
    shards = ShardSet([str(tmp_path / "t.tar")])
    with pytest.raises(ShardError, match="16000 Hz, not 8000 Hz"):
        shards.medium(shards.get("text_to_audio", "train")[0], media_parts(sample)[0])
