"""Diffusion decoders, guidance, references, and the vocoder."""

from __future__ import annotations

import pytest
import torch

from codi2_model.decoders import Reference, build_decoder, to_waveform
from codi2_model.encoders import log_mel
from codi2_model.options import AudioOptions

TRANSFORMER = {"kind": "transformer", "width": 32, "depth": 2, "heads": 2}


@pytest.fixture(
    scope="module", params=["image", "audio", "image transformer", "audio transformer", "video transformer"]
)
def made(request, parts):
    modality, _, kind = request.param.partition(" ")
    patch = {"image": [8, 8], "audio": [8, 16], "video": [2, 8, 8]}[modality]
    config = parts.config(**({f"{modality}_decoder": {**TRANSFORMER, "patch": patch}} if kind else {}))
    torch.manual_seed(0)
    decoder = build_decoder(config, modality).eval()
    if kind:  # it starts at zero: what it draws would hang on nothing
        for p in decoder.parameters():
            torch.nn.init.normal_(p, std=0.1)
    return decoder, config.media_shape(modality), config.feature_dim


def test_sampling_gives_media_between_0_and_1_and_the_same_for_the_same_seed(made):
    decoder, shape, dim = made
    features = torch.randn(3, dim)
    first = decoder.sample(features, steps=4, generator=torch.Generator().manual_seed(3))
    again = decoder.sample(features, steps=4, generator=torch.Generator().manual_seed(3))
    other = decoder.sample(features, steps=4, generator=torch.Generator().manual_seed(4))
    assert first.shape == (3, *shape)
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_row_with_its_own_generator_does_not_depend_on_its_batch(made):
    decoder, _, dim = made
    features = torch.randn(3, dim)
    seeds = [7, 8, 9]
    whole = decoder.sample(features, steps=3, generator=[torch.Generator().manual_seed(s) for s in seeds])
    for n, seed in enumerate(seeds):
        single = decoder.sample(features[n : n + 1], steps=3, generator=[torch.Generator().manual_seed(seed)])
        torch.testing.assert_close(single, whole[n : n + 1], atol=1e-4, rtol=1e-4)


def test_ranges_and_shapes_are_checked(made):
    decoder, shape, dim = made
    features, media = torch.randn(2, dim), torch.rand(2, *shape) * 2 - 1
    with pytest.raises(ValueError, match=r"media has values from .* to 255.000, expected \[-1, 1\]"):
        decoder.loss(features, torch.full_like(media, 255.0))
    with pytest.raises(ValueError, match=r"reference has values from .*, expected \[-1, 1\]"):
        decoder.loss(features, media, reference=media * 3)
    with pytest.raises(ValueError, match="media has shape"):
        decoder.loss(features, media[:, :, :-2])
    with pytest.raises(ValueError, match="features have shape"):
        decoder.loss(features[:, :-1], media)
    with pytest.raises(ValueError, match="0 sampling steps"):
        decoder.sample(features, steps=0)
    with pytest.raises(ValueError, match="1 generators for 2 rows"):
        decoder.sample(features, generator=[torch.Generator()])


def test_the_loss_repeats_with_its_generator_and_reaches_every_weight(made):
    decoder, shape, dim = made
    features = torch.randn(4, dim, requires_grad=True)
    media = torch.rand(4, *shape) * 2 - 1
    present = Reference(media, torch.tensor([True, False, True, False]))
    decoder.train()
    try:
        values = [decoder.loss(features, media, present, torch.Generator().manual_seed(2)) for _ in range(2)]
        assert values[0].item() == values[1].item()
        # whether features are dropped is drawn too: over a few seeds every weight is reached
        torch.stack(
            [decoder.loss(features, media, present, torch.Generator().manual_seed(s)) for s in range(6)]
        ).sum().backward()
        assert [name for name, p in decoder.named_parameters() if p.grad is None] == []
        assert features.grad is not None and features.grad.abs().sum() > 0
    finally:
        decoder.eval()
        decoder.zero_grad()


def test_an_absent_reference_is_the_same_as_none_and_a_present_one_is_seen(made):
    decoder, shape, dim = made
    features, media = torch.randn(2, dim), torch.rand(2, *shape) * 2 - 1

    def sample(reference):
        return decoder.sample(features, reference, steps=2, generator=torch.Generator().manual_seed(0))

    absent = Reference(media, torch.zeros(2, dtype=torch.bool))
    assert torch.equal(sample(absent), sample(None))
    assert not torch.equal(sample(media), sample(None))


@pytest.mark.parametrize("prediction", ["sample", "v_prediction", "epsilon"])
def test_training_lowers_the_loss_with_every_kind_of_prediction(prediction, parts, train_steps):
    config = parts.config(image_decoder={"channels": [16, 32], "norm_groups": 8, "prediction_type": prediction})
    torch.manual_seed(0)
    decoder = build_decoder(config, "image").train()
    features = torch.randn(8, config.feature_dim)
    media = torch.sign(torch.randn(8, 3, 1, 1)).expand(8, 3, 32, 32).contiguous()
    seen = train_steps(decoder.parameters(), lambda: decoder.loss(features, media), 30)
    assert sum(seen[-5:]) < 0.7 * sum(seen[:5])


def test_a_trained_decoder_draws_what_its_features_say(parts, train_steps):
    """Two features and two colours: after a few training steps each feature gives its colour."""
    config = parts.config()
    torch.manual_seed(0)
    decoder = build_decoder(config, "image").train()
    features = torch.randn(2, config.feature_dim)
    media = torch.ones(2, 3, 32, 32)
    media[0, 0], media[1, 2] = -1, -1
    batch = [0, 1] * 4
    train_steps(decoder.parameters(), lambda: decoder.loss(features[batch], media[batch]), 80)
    drawn = decoder.eval().sample(features, steps=8, guidance=1.5, generator=torch.Generator().manual_seed(0))
    error = (drawn[:, None] - (media[None] + 1) / 2).square().mean(dim=(2, 3, 4))
    assert error[0, 0] < 0.5 * error[0, 1] and error[1, 1] < 0.5 * error[1, 0]


def test_a_sound_survives_the_way_to_mel_and_back(parts):
    options = AudioOptions()
    waves = torch.stack([torch.from_numpy(parts.sound(p, 2.0)) for p in (300.0, 1200.0)])
    mel = log_mel(waves, options)
    back = to_waveform((mel + 1) / 2, options)
    assert back.shape == waves.shape and back.abs().max() <= 1
    again = log_mel(back, options)
    decibels = (again - mel).abs() * (options.ceiling_db - options.floor_db) / 2
    assert decibels[mel > mel.max() - 0.9].mean() < 1.5  # within 40 dB of the loudest
    peaks = torch.fft.rfft(back).abs().argmax(dim=1) / 2.0
    assert (peaks - torch.tensor([300.0, 1200.0])).abs().max() < 60
    assert torch.equal(back, to_waveform((mel + 1) / 2, options))


def test_silence_stays_silent_and_wrong_pictures_are_refused():
    options = AudioOptions()
    assert to_waveform(torch.zeros(1, 1, 32, 64), options).abs().max() < 1e-4
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        to_waveform(torch.full((1, 1, 32, 64), -0.5), options)
    with pytest.raises(ValueError, match="expected"):
        to_waveform(torch.zeros(1, 1, 16, 64), options)


def test_what_an_edit_leaves_alone_is_copied_from_the_source(parts):
    config = parts.config()
    torch.manual_seed(0)
    decoder = build_decoder(config, "image").eval()
    fold = config.image_decoder.patch**2
    with torch.no_grad():  # the last channels out of the UNet say how much of the source stays: all of it
        decoder.unet.conv_out.weight.zero_()
        decoder.unet.conv_out.bias.zero_()
        decoder.unet.conv_out.bias[-fold:] = 40.0
    features, source = torch.randn(2, config.feature_dim), torch.rand(2, *config.media_shape("image")) * 2 - 1
    reference = Reference(source, torch.tensor([True, False]))
    made = decoder.sample(features, reference, steps=3, guidance=1.0, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(made[0], (source[0] + 1) / 2)
    torch.testing.assert_close(made[1], torch.full_like(made[1], 0.5))  # no source: only what is drawn, here nothing
