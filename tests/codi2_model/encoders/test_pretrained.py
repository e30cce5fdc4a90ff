"""Published encoder families: features, loading, preprocessing, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionModel,
)

from codi2_model.encoders.families.clap import ClapFamily, resample
from codi2_model.encoders.families.clip import ClipFamily
from codi2_model.encoders.families.siglip import SiglipFamily
from codi2_model.encoders.imagebind.inputs import IMAGE_MEAN, IMAGE_STD
from codi2_model.options import ENCODERS

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {
    **TOWER,
    "vocab_size": 60,
    "max_position_embeddings": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
AUDIO = {
    "num_mel_bins": 16,
    "spec_size": 64,
    "window_size": 4,
    "hidden_size": 32,
    "depths": [1, 1],
    "num_attention_heads": [2, 4],
    "patch_embeds_hidden_size": 16,
    "num_hidden_layers": 2,
}
FRONT = {"feature_size": 16, "max_length_s": 2, "frequency_min": 50, "truncation": "rand_trunc", "hop_length": 480}


def shake(model: torch.nn.Module) -> None:
    """Random norms, biases and statistics, because with initial values a confusion would not be detected."""
    torch.manual_seed(5)
    for value in [*model.parameters(), *model.buffers()]:
        if value.is_floating_point():
            value.data.add_(torch.rand_like(value) * 0.1)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> str:
    # A projection_dim inside vision_config that differs from the outer one, as laion's checkpoints have it.
    config = CLIPConfig(text_config=dict(TEXT), vision_config={**VISION, "projection_dim": 20}, projection_dim=24)
    model = CLIPModel(config).eval()
    shake(model)
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory) -> str:
    model = SiglipModel(SiglipConfig(text_config=dict(TEXT), vision_config=dict(VISION))).eval()
    shake(model)
    folder = tmp_path_factory.mktemp("siglip")
    model.save_pretrained(folder)
    return str(folder)


def clap_model(folder, fused: bool = False) -> str:
    audio = {**AUDIO, "enable_fusion": fused, "fusion_type": "aff_2d" if fused else None}
    model = ClapModel(ClapConfig(text_config=dict(TEXT), audio_config=audio, projection_dim=24)).eval()
    shake(model)
    model.save_pretrained(folder)
    front = {**FRONT, "truncation": "fusion" if fused else "rand_trunc"}
    ClapFeatureExtractor(**front).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory) -> str:
    return clap_model(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def imagebind_folder(tmp_path_factory, imagebind, small_imagebind) -> str:
    folder = tmp_path_factory.mktemp("imagebind")
    torch.save(imagebind.state_dict(), folder / "imagebind_small.pth")
    (folder / "config.json").write_text(json.dumps(small_imagebind))
    return str(folder)


def built(kind: str, source: str):
    """Build a family like the loader: read sizes, build on the meta device, load."""
    options = json.loads(json.dumps(ENCODERS.part(kind).describe(source)))
    with torch.device("meta"):
        family = ENCODERS.part(kind)(options)
    assert all(p.is_meta for p in family.parameters())
    family.load(source)
    assert not any(t.is_meta for t in [*family.parameters(), *family.buffers()])
    return family


def bytes_of(*shape: int) -> torch.Tensor:
    """Media in [-1, 1] that are exact byte values, as from image files."""
    return torch.randint(0, 256, shape) / 127.5 - 1


def pixels(images: torch.Tensor, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)) -> torch.Tensor:
    return ((images + 1) / 2 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@torch.no_grad()
def test_clip_is_transformers_own(clip_folder):
    family, whole = built("clip", clip_folder), CLIPModel.from_pretrained(clip_folder).eval()
    images = bytes_of(2, 3, 32, 32)
    result = family.features("image", images, 1)
    assert result.shape == (2, 1, 24) and family.width == 24
    expected = whole.get_image_features(pixels(images, IMAGE_MEAN, IMAGE_STD)).pooler_output
    torch.testing.assert_close(result[:, 0], expected)
    grid = family.features("image", images, 5)
    assert grid.shape == (2, 5, 24)
    torch.testing.assert_close(grid[:, :1], result)
    video = torch.stack([images, images.flip(-1), images], dim=2)
    mean = (2 * result + family.features("image", images.flip(-1), 1)) / 3
    torch.testing.assert_close(family.features("video", video, 1), mean)
    assert family.features("image", torch.rand(1, 3, 50, 50), 1).shape == (1, 1, 24)
    with pytest.raises(ValueError, match="a grid of side 5, expected 1 to 4"):
        family.features("image", images, 26)


@torch.no_grad()
def test_a_tower_saved_alone_is_read_too(tmp_path, clip_folder, siglip_folder):
    images = bytes_of(2, 3, 32, 32)
    for name, kind in (("clip", ClipFamily), ("siglip", SiglipFamily)):
        family = built(name, clip_folder if kind is ClipFamily else siglip_folder)
        family.model.save_pretrained(tmp_path / name)
        single = built(name, str(tmp_path / name))
        torch.testing.assert_close(single.features("image", images, 1), family.features("image", images, 1))


@torch.no_grad()
def test_siglip_is_transformers_own(siglip_folder):
    family, tower = built("siglip", siglip_folder), SiglipVisionModel.from_pretrained(siglip_folder).eval()
    images = bytes_of(2, 3, 32, 32)
    result = family.features("image", images, 1)
    assert result.shape == (2, 1, 32)
    torch.testing.assert_close(result[:, 0], tower(images).pooler_output)
    with pytest.raises(ValueError, match="image: 5 slots, expected 1"):
        family.features("image", images, 5)


def test_a_preprocessor_config_decides_on_mean_and_resampling(siglip_folder):
    values = json.loads((Path(siglip_folder) / "config.json").read_text())
    other = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 1.0, 1.0], "resample": 2}
    family = SiglipFamily({"config": {**values, "preprocessor": other}})
    same = torch.full((1, 3, 32, 32), 102 / 127.5 - 1)
    torch.testing.assert_close(family.prepare(same)[0, :, 0, 0], torch.tensor([0.3, 0.2, 0.1]))
    images = bytes_of(1, 3, 64, 64)
    bicubic = SiglipFamily({"config": {**values, "preprocessor": {**other, "resample": 3}}})
    assert (family.prepare(images) - bicubic.prepare(images)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="resample 5"):
        SiglipFamily({"config": {**values, "preprocessor": {"resample": 5}}}).prepare(images)


@pytest.mark.parametrize("resample", [2, 3])
def test_images_are_prepared_as_transformers_prepares_them_with_pil(clip_folder, siglip_folder, resample):
    images = torch.zeros(2, 3, 75, 75, dtype=torch.uint8)
    images[0, :, 20:, 33:] = 255  # hard edges, on which filters of floats go wrong
    images[1] = torch.randint(0, 256, (3, 75, 75))
    for kind, folder, theirs in (
        (ClipFamily, clip_folder, CLIPImageProcessorPil(size=32, crop_size=32, resample=resample)),
        (SiglipFamily, siglip_folder, SiglipImageProcessorPil(size={"height": 32, "width": 32}, resample=resample)),
    ):
        values = kind.describe(folder)["config"]
        result = kind({"config": {**values, "preprocessor": {"resample": resample}}}).prepare(images / 127.5 - 1)
        wanted = theirs(list(images.permute(0, 2, 3, 1).numpy()), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(result, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("samples", [16000, 30000, 96000])
@pytest.mark.parametrize("front", [{}, {"truncation": "fusion"}, {"padding": "repeat"}, {"padding": "pad"}])
def test_clap_mels_are_the_feature_extractors(clap_folder, samples, front):
    values = ClapFamily.describe(clap_folder)["config"]
    settings = {**FRONT, **front}
    family = ClapFamily({"config": {**values, "preprocessor": settings}})
    wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 0.2
    expected = ClapFeatureExtractor(**settings)(wave, sampling_rate=48000, return_tensors="pt")["input_features"]
    result = family.mels(torch.from_numpy(wave)[None])
    assert result.shape == (1, 1, 201, 16)
    torch.testing.assert_close(result[:, 0], expected[:, 0].float(), atol=2e-3, rtol=1e-4)


def test_clap_mels_at_the_published_sizes_are_the_feature_extractors():
    config = {**AUDIO, "num_mel_bins": 64, "spec_size": 256, "model_type": "clap_audio_model"}
    family = ClapFamily({"config": config})
    wave = np.random.default_rng(1).standard_normal(48000 * 3).astype(np.float32) * 0.1
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    expected = extractor(wave, sampling_rate=48000, return_tensors="pt")["input_features"]
    result = family.mels(torch.from_numpy(wave)[None])
    assert result.shape == (1, 1, 1001, 64)
    torch.testing.assert_close(result, expected.float(), atol=2e-3, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("fused", [False, True])
def test_clap_is_transformers_own(tmp_path, fused):
    folder = clap_model(tmp_path, fused)
    family, whole = built("clap", folder), ClapModel.from_pretrained(folder).eval()
    assert family.width == 24 and family.front["frequency_min"] == 50
    seconds = torch.arange(16000) / 16000
    waves = torch.stack([0.5 * torch.sin(2 * torch.pi * f * seconds) for f in (300.0, 2500.0)])
    waves += 0.02 * torch.randn(2, 16000)
    result = family.features("audio", waves[:, None], 1)
    assert result.shape == (2, 1, 24)
    heard = [w.numpy() for w in resample(waves, 16000, 48000)]
    mels = ClapFeatureExtractor.from_pretrained(folder)(heard, sampling_rate=48000, return_tensors="pt")
    inputs = mels["input_features"].float()
    expected = whole.audio_projection(
        whole.audio_model(inputs, is_longer=torch.zeros(2, 1, dtype=torch.bool)).pooler_output
    )
    torch.testing.assert_close(result[:, 0], expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="maximum of 2 s"):
        family.features("audio", torch.zeros(1, 1, 40000), 1)


@torch.no_grad()
def test_imagebind_is_read_from_its_folder(imagebind_folder, imagebind):
    family = built("imagebind", imagebind_folder)
    assert family.modalities == ("image", "video", "audio") and family.width == 24
    images = bytes_of(2, 3, 28, 28)
    prepared = pixels(images, IMAGE_MEAN, IMAGE_STD)
    result = family.features("image", images, 1)
    torch.testing.assert_close(result[:, 0], imagebind.embed("vision", prepared))
    torch.testing.assert_close(family.features("image", images, 10), imagebind.tokens(prepared, 3))
    assert family.features("audio", torch.rand(2, 1, 32000) - 0.5, 1).shape == (2, 1, 24)
    still = images[:, :, None].expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(family.features("video", still, 1), result)
    video = bytes_of(2, 3, 4, 28, 28)
    clips = torch.stack([family.features("video", video[:, :, i : i + 2], 1) for i in (0, 2)]).mean(dim=0)
    torch.testing.assert_close(family.features("video", video, 1), clips)


def test_imagebind_huge_is_described_without_a_config_file(tmp_path):
    (tmp_path / "imagebind_huge.pth").touch()
    for source in (tmp_path, tmp_path / "imagebind_huge.pth"):
        config = ENCODERS.part("imagebind").describe(str(source))["config"]
        assert config["trunks"] == ["vision", "audio"]
        assert config["vision"]["depth"] == 32 and config["out_dim"] == 1024
    with torch.device("meta"):
        family = ENCODERS.part("imagebind")({"config": config})
    assert sum(p.numel() for p in family.parameters()) == 632_829_440 + 86_235_648
    assert family.features("image", torch.zeros(1, 3, 64, 64, device="meta"), 257).shape == (1, 257, 1024)


def test_a_family_with_one_trunk_has_its_modalities_alone(small_imagebind):
    family = ENCODERS.part("imagebind")({"config": {**small_imagebind, "trunks": ["audio"]}})
    with pytest.raises(ValueError, match="ImageBindFamily does not support 'image', only audio"):
        family.features("image", torch.zeros(1, 3, 28, 28), 1)


@pytest.mark.parametrize(
    ("modality", "media", "slots", "message"),
    [
        ("image", torch.full((1, 3, 28, 28), 1.5), 1, r"image values from 1.500 to 1.500, expected \[-1, 1\]"),
        ("image", torch.full((1, 3, 28, 28), float("nan")), 1, r"expected \[-1, 1\]"),
        ("audio", torch.full((1, 1, 16000), -3.0), 1, r"audio values from -3.000 .* expected \[-1, 1\]"),
        ("image", torch.zeros(1, 1, 28, 28), 1, r"image has shape \(1, 1, 28, 28\), expected \(N, 3"),
        ("video", torch.zeros(1, 3, 28, 28), 1, "of 5 axes"),
        ("audio", torch.zeros(1, 16000), 1, "of 3 axes"),
        ("image", torch.zeros(1, 3, 28, 28), 4, r"image: 4 slots, expected 1 or 1 \+ k \* k"),
        ("image", torch.zeros(1, 3, 28, 28), 0, "image: 0 slots"),
        ("video", torch.zeros(1, 3, 2, 28, 28), 5, "video: 5 slots, expected 1"),
        ("audio", torch.zeros(1, 1, 16000), 2, "audio: 2 slots, expected 1"),
        ("depth", torch.zeros(1, 1, 28, 28), 1, "does not support 'depth', only image, video, audio"),
    ],
)
def test_media_and_slots_that_do_not_fit_are_refused(imagebind_folder, modality, media, slots, message):
    family = built("imagebind", imagebind_folder)
    with pytest.raises(ValueError, match=message):
        family.features(modality, media, slots)


def test_weights_that_lack_something_are_refused(clip_folder, tmp_path):
    options = ClipFamily.describe(clip_folder)
    options["config"]["vision_config"]["num_hidden_layers"] = 3
    with pytest.raises(ValueError, match=r"encoder\.layers\.2"):
        ClipFamily(options).load(clip_folder)
    options["config"]["vision_config"]["num_hidden_layers"] = 1
    with pytest.raises(ValueError, match=r"encoder\.layers\.1"):
        ClipFamily(options).load(clip_folder)
    with pytest.raises(ValueError, match=r"no config\.json"):
        ClipFamily.describe(str(tmp_path))
    with pytest.raises(ValueError, match=r"expected one \.pth or \.safetensors file, found none"):
        ENCODERS.part("imagebind").describe(str(tmp_path))


def test_families_stay_in_evaluation_mode_and_pass_gradients(clap_folder):
    family = torch.nn.ModuleList([built("clap", clap_folder)]).train()[0]
    assert not family.training and not family.model.audio_model.training
    waves = (torch.rand(1, 1, 8000) - 0.5).requires_grad_()
    family.features("audio", waves, 1).sum().backward()
    assert waves.grad is not None and waves.grad.abs().sum() > 0


def test_half_precision_takes_the_same_media(clip_folder, clap_folder, imagebind_folder):
    media = {"image": torch.rand(1, 3, 32, 32), "audio": torch.rand(1, 1, 16000) - 0.5}
    for kind, source in (("clip", clip_folder), ("clap", clap_folder), ("imagebind", imagebind_folder)):
        family = built(kind, source)
        modality = "audio" if kind == "clap" else "image"
        expected = family.features(modality, media[modality], 1)
        result = family.to(torch.bfloat16).features(modality, media[modality], 1)
        assert result.dtype == torch.bfloat16
        assert torch.nn.functional.cosine_similarity(result.float(), expected, dim=-1).min() > 0.99
