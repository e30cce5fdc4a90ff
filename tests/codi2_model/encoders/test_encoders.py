"""Encoders, contrastive loss, and log-mel spectrograms."""

from __future__ import annotations

import pytest
import torch

from codi2_model.encoders import Encoders, log_mel, mel_filters
from codi2_model.modules.losses import align_loss, cosine_loss, token_loss
from codi2_model.options import AudioOptions


@pytest.fixture(scope="module")
def encoders(config):
    torch.manual_seed(0)
    return Encoders(config).eval()


def test_every_modality_gives_features_of_the_configured_length(encoders, config, processor, parts):
    ids, mask = processor.encode_captions(["a dog", "a much longer caption of a red duck"])
    result = [
        encoders.encode(
            "image", torch.stack([processor.image(parts.picture()), processor.image(parts.picture("blue"))])
        ),
        encoders.encode("audio", torch.stack([processor.audio(parts.sound()), processor.audio(parts.sound(900))])),
        encoders.encode_text(ids, mask),
    ]
    for features in result:
        assert features.shape == (2, config.feature_dim)
        torch.testing.assert_close(features.norm(dim=-1), torch.full((2,), config.feature_dim**0.5))
        assert (features[0] - features[1]).abs().max() > 1e-3


def test_padding_does_not_change_a_captions_features(encoders, processor):
    short = processor.encode_captions(["a dog"])
    ids, mask = processor.encode_captions(["a dog", "a much longer caption of a red duck"])
    torch.testing.assert_close(encoders.encode_text(ids, mask)[:1], encoders.encode_text(*short), atol=1e-5, rtol=1e-5)


def test_several_slots_have_features_of_their_own(parts):
    config = parts.config(feature_tokens=3)
    encoders = Encoders(config)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert encoders.features("image", images).shape == (2, 3, config.feature_dim)
    assert encoders.encode("image", images).shape == (2, config.feature_dim)


def test_media_of_another_shape_are_refused(encoders):
    with pytest.raises(ValueError, match=r"\(1, 3, 16, 16\), expected \(N, 3, 32, 32\)"):
        encoders.encode("image", torch.zeros(1, 3, 16, 16))


def test_contrast_brings_pairs_together(config, processor, parts, train_steps):
    encoders = Encoders(config)
    colours = ["red", "blue", "green", "black"]
    images = torch.stack([processor.image(parts.picture(c)) for c in colours])
    ids, mask = processor.encode_captions([f"a {c} ball" for c in colours])

    def loss():
        return align_loss(encoders.encode("image", images), encoders.encode_text(ids, mask), encoders.log_temperature)

    seen = train_steps(encoders.parameters(), loss, 25, lr=2e-3)
    assert seen[-1] < 0.5 * seen[0]


def test_rows_of_one_group_are_no_negatives_of_each_other():
    left = torch.eye(3)
    right = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    scale = torch.tensor(3.0)
    assert align_loss(left, right, scale, torch.tensor([0, 0, 1])) < align_loss(left, right, scale)
    with pytest.raises(ValueError, match="N >= 2"):
        align_loss(left[:1], right[:1], scale)


def test_losses_are_what_their_formulas_say():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert cosine_loss(a, b) == pytest.approx(1.0)
    assert cosine_loss(b, 3 * b) == pytest.approx(0.0, abs=1e-6)
    assert token_loss(torch.zeros(4, 8), torch.arange(4)) == pytest.approx(torch.log(torch.tensor(8.0)).item())
    assert token_loss(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)) == 0


@pytest.mark.parametrize("options", [AudioOptions(), AudioOptions(mels=64, frames=128, n_fft=2048)])
def test_mel_filters_are_triangles_that_rise_with_frequency(options):
    filters = mel_filters(options)
    assert filters.shape == (options.mels, options.n_fft // 2 + 1)
    assert filters.min() == 0 and filters.max() <= 1
    assert bool((filters.sum(dim=1) > 0).all())
    peaks = filters.argmax(dim=1)
    assert bool((peaks[1:] >= peaks[:-1]).all())


def test_a_higher_tone_lies_in_a_higher_mel_bin_and_silence_at_the_floor(parts):
    options = AudioOptions()
    tones = torch.stack([torch.from_numpy(parts.sound(p, 2.0)) for p in (200.0, 1000.0, 5000.0)])
    mel = log_mel(tones, options)
    assert mel.shape == (3, 1, 32, 64)
    bins = mel[:, 0, :, 5].argmax(dim=1).tolist()
    assert bins == sorted(bins) and len(set(bins)) == 3
    assert bool((log_mel(torch.zeros(1, options.samples), options) == -1).all())
    assert torch.equal(log_mel(tones, options), mel)
    with pytest.raises(ValueError, match="expected"):
        log_mel(tones[:, :100], options)
