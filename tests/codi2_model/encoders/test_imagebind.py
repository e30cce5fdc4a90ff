"""ImageBind: published parameter names and sizes, embeddings, options, errors."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import save_file

from codi2_model.encoders.imagebind import TRUNKS, ImageBind, ImageBindOptions, TrunkOptions, load_official
from codi2_model.encoders.imagebind.model import parameters_of

# The published architecture, written out: blocks, width, whether attention has one key and value more.
TRUNK_TABLE = {
    "vision": (32, 1280, False),
    "text": (24, 1024, False),
    "audio": (12, 768, True),
    "depth": (12, 384, True),
    "thermal": (12, 768, True),
    "imu": (6, 512, True),
}
STEM_TABLE = {
    "vision.cls_token": (1, 1, 1280),
    "vision.rgbt_stem.proj.1.weight": (1280, 3, 2, 14, 14),
    "vision.pos_embedding_helper.pos_embed": (1, 257, 1280),
    "text.pos_embed": (1, 77, 1024),
    "text.mask": (77, 77),
    "text.token_embedding.weight": (49408, 1024),
    "audio.cls_token": (1, 1, 768),
    "audio.rgbt_stem.proj.weight": (768, 1, 16, 16),
    "audio.rgbt_stem.norm_layer.weight": (768,),
    "audio.rgbt_stem.norm_layer.bias": (768,),
    "audio.pos_embedding_helper.pos_embed": (1, 229, 768),
    "depth.cls_token": (1, 1, 384),
    "depth.depth_stem.proj.weight": (384, 1, 16, 16),
    "depth.depth_stem.norm_layer.weight": (384,),
    "depth.depth_stem.norm_layer.bias": (384,),
    "depth.pos_embedding_helper.pos_embed": (1, 197, 384),
    "thermal.cls_token": (1, 1, 768),
    "thermal.rgbt_stem.proj.weight": (768, 1, 16, 16),
    "thermal.rgbt_stem.norm_layer.weight": (768,),
    "thermal.rgbt_stem.norm_layer.bias": (768,),
    "thermal.pos_embedding_helper.pos_embed": (1, 197, 768),
    "imu.pos_embed": (1, 251, 512),
    "imu.cls_token": (1, 1, 512),
    "imu.imu_stem.proj.weight": (512, 48),
    "imu.imu_stem.norm_layer.weight": (512,),
    "imu.imu_stem.norm_layer.bias": (512,),
}
HEAD_TABLE = {  # norm, projection
    "vision": ("0", "2"),
    "text": ("proj.0", "proj.1"),
    "audio": ("0", "2"),
    "depth": ("0", "2"),
    "thermal": ("0", "2"),
    "imu": ("0", "3"),
}
PARAMETERS = {
    "vision": 632_829_440,
    "text": 354_032_641,
    "audio": 86_235_648,
    "depth": 21_871_872,
    "thermal": 86_211_072,
    "imu": 19_600_384,
}


def block_table(width: int, bias_kv: bool) -> dict[str, tuple[int, ...]]:
    result: dict[str, tuple[int, ...]] = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    result |= {f"{norm}.{leaf}": (width,) for norm in ("norm_1", "norm_2") for leaf in ("weight", "bias")}
    return result | ({"attn.bias_k": (1, 1, width), "attn.bias_v": (1, 1, width)} if bias_kv else {})


def published_shapes() -> dict[str, tuple[int, ...]]:
    result = {f"modality_preprocessors.{key}": shape for key, shape in STEM_TABLE.items()}
    for name, (blocks, width, bias_kv) in TRUNK_TABLE.items():
        trunk, head = f"modality_trunks.{name}", f"modality_heads.{name}"
        if name == "vision":
            result |= {f"{trunk}.pre_transformer_layer.0.{leaf}": (width,) for leaf in ("weight", "bias")}
        for index in range(blocks):
            result |= {f"{trunk}.blocks.{index}.{key}": shape for key, shape in block_table(width, bias_kv).items()}
        norm, projection = HEAD_TABLE[name]
        result |= {f"{head}.{norm}.{leaf}": (width,) for leaf in ("weight", "bias")}
        result[f"{head}.{projection}.weight"] = (1024, width)
        if name != "vision":
            result[f"modality_postprocessors.{name}.1.log_logit_scale"] = ()
    return result


@pytest.fixture(scope="module")
def huge() -> ImageBind:
    with torch.device("meta"):
        return ImageBind(ImageBindOptions())


def test_names_and_shapes_are_the_published_checkpoints(huge):
    result = {key: tuple(value.shape) for key, value in huge.state_dict().items()}
    expected = published_shapes()
    assert len(expected) == 1311
    assert result == expected


def test_parameters_of_each_trunk_add_up_to_the_published_1_2_billion(huge):
    assert {name: parameters_of(huge, name) for name in TRUNKS} == PARAMETERS
    assert sum(p.numel() for p in huge.parameters()) == 1_200_781_057


def test_a_full_size_state_dict_loads_strictly_and_trunks_can_be_left_out():
    weights = {key: torch.empty(shape, device="meta") for key, shape in published_shapes().items()}
    whole = load_official(weights)
    assert set(whole.state_dict()) == set(weights)
    two = load_official(weights, ImageBindOptions(trunks=("vision", "audio")))
    assert {key.split(".")[1] for key in two.state_dict()} == {"vision", "audio"}


def test_the_official_copys_state_dict_loads_as_metas_does(imagebind, prepared):
    weights = imagebind.state_dict()
    copy = {k: v for k, v in weights.items() if k.split(".")[1] in ("vision", "text", "audio")}
    copy["modality_heads.audio.3.weight"] = copy.pop("modality_heads.audio.2.weight")
    sizes = dataclasses.replace(imagebind.options, trunks=("vision", "text", "audio"))
    loaded = load_official(copy, sizes)
    for trunk in sizes.trunks:
        assert torch.equal(loaded.embed(trunk, prepared[trunk]), imagebind.embed(trunk, prepared[trunk]))
    both = {**weights, "modality_heads.audio.3.weight": weights["modality_heads.audio.2.weight"]}
    with pytest.raises(ValueError, match=r"audio\.3\.weight is unknown"):
        load_official(both, imagebind.options)
    short = {k: v for k, v in copy.items() if k != "modality_heads.audio.3.weight"}
    with pytest.raises(ValueError, match=r"audio\.2\.weight is missing"):
        load_official(short, sizes)


def test_a_full_size_copy_has_its_three_trunks_without_options():
    weights = {key: torch.empty(shape, device="meta") for key, shape in published_shapes().items()}
    copy = {k: v for k, v in weights.items() if k.split(".")[1] in ("vision", "text", "audio")}
    copy["modality_heads.audio.3.weight"] = copy.pop("modality_heads.audio.2.weight")
    assert load_official(copy).options.trunks == ("vision", "text", "audio")
    del weights["modality_trunks.depth.blocks.0.attn.bias_k"]
    with pytest.raises(ValueError, match=r"depth\.blocks\.0\.attn\.bias_k is missing"):
        load_official(weights)


def test_other_keys_and_shapes_are_errors_that_name_them(imagebind):
    options, weights = imagebind.options, imagebind.state_dict()
    missing = dict(weights)
    del missing["modality_heads.audio.2.weight"]
    with pytest.raises(ValueError, match=r"modality_heads\.audio\.2\.weight is missing"):
        load_official(missing, options)
    with pytest.raises(ValueError, match=r"modality_trunks\.smell\.x is unknown"):
        load_official({**weights, "modality_trunks.smell.x": torch.zeros(1)}, options)
    with pytest.raises(ValueError, match=r"text\.mask has shape \(3, 3\), expected \(12, 12\)"):
        load_official({**weights, "modality_preprocessors.text.mask": torch.zeros(3, 3)}, options)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_saved_model_loads_and_embeds_all_six_modalities(imagebind, prepared, tmp_path, suffix):
    file = tmp_path / f"imagebind.{suffix}"
    (torch.save if suffix == "pth" else save_file)(imagebind.state_dict(), file)
    loaded = load_official(file, imagebind.options)
    assert not loaded.training
    for trunk in TRUNKS:
        result = loaded.embed(trunk, prepared[trunk])
        assert result.shape == (2, 24)
        assert torch.equal(result, imagebind.embed(trunk, prepared[trunk]))
        assert (result[0] - result[1]).abs().max() > 1e-3
        if trunk != "audio":  # whose three clips are averaged
            torch.testing.assert_close(result.norm(dim=-1), torch.ones(2))


def test_scaled_embeddings_have_the_published_lengths(imagebind, prepared):
    expected = {"vision": 1.0, "text": 1 / 0.07, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
    for trunk, length in expected.items():
        result = imagebind.embed(trunk, prepared[trunk], scaled=True).norm(dim=-1)
        torch.testing.assert_close(result, torch.full((2,), length))
    audio = imagebind.embed("audio", prepared["audio"][:, 0], scaled=True).norm(dim=-1)
    torch.testing.assert_close(audio, torch.full((2,), 20.0))
    learnt = [name for name, _ in imagebind.named_parameters() if "logit" in name]
    assert learnt == ["modality_postprocessors.text.1.log_logit_scale"]
    scale = imagebind.modality_postprocessors["text"][1]
    before = scale.log_logit_scale.item()
    with torch.no_grad():
        scale.log_logit_scale.fill_(math.log(1000.0))
        clipped = imagebind.embed("text", prepared["text"], scaled=True).norm(dim=-1)
        scale.log_logit_scale.fill_(before)
    torch.testing.assert_close(clipped, torch.full((2,), 100.0))


def test_clips_are_averaged(imagebind, prepared):
    clips = torch.randn(2, 4, 3, 2, 28, 28)
    one_by_one = torch.stack([imagebind.embed("vision", clips[:, i]) for i in range(4)]).mean(dim=0)
    torch.testing.assert_close(imagebind.embed("vision", clips), one_by_one)
    one_by_one = torch.stack([imagebind.embed("audio", prepared["audio"][:, i]) for i in range(3)]).mean(dim=0)
    torch.testing.assert_close(imagebind.embed("audio", prepared["audio"]), one_by_one)


def test_a_picture_is_a_clip_that_stands_still(imagebind, prepared):
    picture = prepared["vision"]
    expected = imagebind.embed("vision", picture)
    torch.testing.assert_close(imagebind.embed("vision", picture[:, :, None]), expected)
    torch.testing.assert_close(imagebind.embed("vision", picture[:, :, None].expand(-1, -1, 2, -1, -1)), expected)


def test_text_looks_back_alone_and_what_follows_the_end_does_not_count(imagebind, prepared):
    ids = prepared["text"][:1].clone()
    expected = imagebind.embed("text", ids)
    torch.testing.assert_close(imagebind.embed("text", ids[:, :5]), expected)
    ids[0, 8] = 7
    torch.testing.assert_close(imagebind.embed("text", ids), expected)
    ids[0, 2] += 1
    assert (imagebind.embed("text", ids) - expected).abs().max() > 1e-3


def test_tokens_are_the_embedding_and_a_grid_of_patches(imagebind, prepared):
    result = imagebind.tokens(prepared["vision"], grid=2)
    assert result.shape == (2, 5, 24)
    torch.testing.assert_close(result[:, 0], imagebind.embed("vision", prepared["vision"]))
    torch.testing.assert_close(result.norm(dim=-1), torch.ones(2, 5))
    stem, trunk = imagebind.modality_preprocessors["vision"], imagebind.modality_trunks["vision"]
    states = trunk(stem(prepared["vision"]))[:, 1:].reshape(2, 4, 4, 32)
    corner = imagebind.modality_heads["vision"](states[:, :2, 2:].mean(dim=(1, 2)))  # first row, second column
    torch.testing.assert_close(result[:, 2], torch.nn.functional.normalize(corner, dim=-1))
    assert imagebind.tokens(prepared["vision"], grid=4).shape == (2, 17, 24)
    for grid in (0, 5):
        with pytest.raises(ValueError, match="expected 1 to 4"):
            imagebind.tokens(prepared["vision"], grid)


@pytest.mark.parametrize(
    ("trunk", "shape", "message"),
    [
        ("vision", (2, 3, 30, 28), r"vision has shape \(2, 3, 30, 28\), expected \(N, 3, 2, 28, 28\)"),
        ("audio", (2, 1, 128, 200), "audio has shape"),
        ("depth", (2, 2, 1, 32, 32), "depth has shape"),
        ("text", (2, 13), r"expected ids \(N, 1 to 12\)"),
        ("smell", (2, 3), "no trunk 'smell'"),
    ],
)
def test_inputs_of_another_shape_are_refused(imagebind, trunk, shape, message):
    with pytest.raises(ValueError, match=message):
        imagebind.embed(trunk, torch.zeros(shape))


def test_half_precision_comes_close(imagebind, prepared):
    half = load_official({k: v.bfloat16() for k, v in imagebind.state_dict().items()}, imagebind.options)
    for trunk in TRUNKS:
        inputs = prepared[trunk] if trunk == "text" else prepared[trunk].bfloat16()
        result = half.embed(trunk, inputs)
        assert result.dtype == torch.bfloat16
        assert (
            torch.nn.functional.cosine_similarity(result.float(), imagebind.embed(trunk, prepared[trunk])).min() > 0.99
        )


def test_options_come_from_plain_dicts_and_go_back(small_imagebind):
    options = ImageBindOptions.from_dict(small_imagebind)
    assert options.audio.grid == (12, 19) and options.audio.width == 16  # what is left out is as published
    plain = json.loads(json.dumps(dataclasses.asdict(options)))
    assert ImageBindOptions.from_dict(plain) == options
    assert ImageBindOptions.from_dict({}) == ImageBindOptions()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"smell": {}}, "unknown key 'smell'"),
        ({"vision": {"widht": 3}}, r"unknown key 'vision\.widht'"),
        ({"vision": {"width": 33}}, "vision: width 33 is not a multiple of heads 16"),
        ({"vision": {"shape": [28, 28], "patch": [7, 7]}}, "vision: shape .* expected 3"),
        ({"vision": {"patch": [1, 14, 14]}}, "spans 1 frames, expected all 2"),
        ({"audio": {"stride": [10]}}, "stride .* does not fit"),
        ({"audio": {"patch": [200, 16]}}, "larger than shape"),
        ({"depth": {"patch": []}}, "depth: patch is missing"),
        ({"text": {"vocab": 0}}, "vocab"),
        ({"trunks": ["smell"]}, "expected a subset of vision"),
        ({"trunks": []}, "expected a subset of vision"),
        ({"out_dim": 0}, "out_dim is 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ImageBindOptions.from_dict(values)


def test_trunk_options_have_at_least_one_of_each():
    with pytest.raises(ValueError, match="at least 1"):
        TrunkOptions(width=8, depth=0, heads=1, shape=(4,))
    with pytest.raises(ValueError, match="no trunk 'smell'"):
        ImageBindOptions().trunk("smell")
