"""Preparation of ImageBind inputs, compared with the published code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from codi2_model.encoders.imagebind import ImageBindOptions
from codi2_model.encoders.imagebind.inputs import (
    IMAGE_MEAN,
    IMAGE_STD,
    audio_clips,
    clip_starts,
    fbank,
    normalised_images,
    video_clips,
)

OPTIONS = ImageBindOptions()


def kaldi_fbank(wave: np.ndarray, mels: int) -> np.ndarray:
    """Kaldi's compute-fbank-feats in plain loops, from its documentation: Hanning, no dither, 16 kHz, 25 ms / 10 ms."""
    wave = wave.astype(np.float64) - wave.astype(np.float64).mean()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)

    def mel(hz: float) -> float:
        return 1127.0 * np.log(1 + hz / 700.0)

    edges = np.linspace(mel(20.0), mel(8000.0), mels + 2)
    rows = []
    for start in range(0, len(wave) - 400 + 1, 160):
        frame = wave[start : start + 400] - wave[start : start + 400].mean()
        emphasised = frame.copy()
        for i in range(400):
            emphasised[i] = frame[i] - 0.97 * frame[max(i - 1, 0)]
        power = np.abs(np.fft.fft(emphasised * window, 512)[:256]) ** 2
        row = np.zeros(mels)
        for band in range(mels):
            left, middle, right = edges[band : band + 3]
            for k in range(256):
                at = mel(k * 16000 / 512)
                if left < at < right:
                    row[band] += power[k] * (
                        (at - left) / (middle - left) if at <= middle else (right - at) / (right - middle)
                    )
        rows.append(np.log(np.maximum(row, np.finfo(np.float32).eps)))
    return np.stack(rows)


def test_fbank_is_kaldis():
    random = np.random.default_rng(0)
    seconds = np.arange(4000) / 16000
    wave = (0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.05 * random.standard_normal(4000) + 0.1).astype(np.float32)
    result = fbank(torch.from_numpy(wave)[None], 128)[0].numpy()
    assert result.shape == (23, 128)
    np.testing.assert_allclose(result, kaldi_fbank(wave, 128), atol=2e-3)


def test_silence_is_kaldis_floor_and_batches_are_independent():
    waves = torch.stack([torch.zeros(1600), torch.rand(1600) - 0.5])
    result = fbank(waves, 128)
    assert bool((result[0] == float(np.log(np.float32(1.1920929e-07)))).all())
    torch.testing.assert_close(fbank(waves[1:], 128)[0], result[1])


def test_fbank_keeps_its_precision_under_autocast():
    waves = torch.rand(1, 3200) - 0.5
    expected = fbank(waves, 128)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fbank(waves, 128), expected)


def published_sounds(wave: np.ndarray) -> np.ndarray:
    """`load_and_transform_audio_data` of ImageBind for a waveform, with its in-place arithmetic."""
    wave = torch.from_numpy(wave.copy())
    last = Fraction(max(len(wave) / 16000 - 2, 0))
    result = []
    for index in range(3):
        start = last / 2 * index
        clip = wave[int(start * 16000) : int((start + 2) * 16000)]
        clip -= clip.mean()
        mels = fbank(clip[None], 128)[0].T
        result.append((F.pad(mels, (0, 204 - mels.shape[1])) + 4.268) / 9.138)
    return torch.stack(result)[:, None].numpy()


@pytest.mark.parametrize("samples", [8000, 32000, 32001, 50003, 80000, 160000])
def test_sounds_are_the_published_three_clips(samples):
    random = np.random.default_rng(samples)
    wave = (0.2 * random.standard_normal(samples) + np.linspace(-0.3, 0.4, samples)).astype(np.float32)
    result = audio_clips(torch.from_numpy(np.stack([wave * 0.1, wave])), OPTIONS.audio)
    assert result.shape == (2, 3, 1, 128, 204)
    np.testing.assert_allclose(result[1].numpy(), published_sounds(wave), atol=1e-4)


def test_clips_start_where_the_published_sampler_starts_them():
    assert clip_starts(80000) == [0, 24000, 48000]
    assert clip_starts(32001) == [0, 0, 0]  # 1 / 16,000 s is a little less in floats
    assert clip_starts(9000) == [0, 0, 0]


def test_sounds_are_padded_before_the_normalisation_and_very_short_ones_refused():
    waves = torch.rand(1, 8000, generator=torch.Generator().manual_seed(0)) - 0.5
    result = audio_clips(waves, OPTIONS.audio)
    torch.testing.assert_close(result[:, 0], result[:, 2], atol=1e-4, rtol=1e-4)
    assert bool((result[..., 48:] == torch.tensor(4.268) / 9.138).all()) and result[..., :48].std() > 0.01
    with pytest.raises(ValueError, match="at least 400 samples"):
        audio_clips(torch.zeros(1, 399), OPTIONS.audio)


def bytes_of(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape) / 127.5 - 1


def published_pixels(pixels: np.ndarray) -> torch.Tensor:
    """torchvision's Resize(224, bicubic), CenterCrop(224), ToTensor and Normalize of a PIL image."""
    image = Image.fromarray(pixels)
    short = min(image.size)
    wide, high = (224 if side == short else int(224 * side / short) for side in image.size)
    left, top = round((wide - 224) / 2.0), round((high - 224) / 2.0)
    cut = image.resize((wide, high), Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    scaled = torch.from_numpy(np.array(cut)).permute(2, 0, 1).float().div(255)
    return scaled.sub(torch.tensor(IMAGE_MEAN).view(3, 1, 1)).div(torch.tensor(IMAGE_STD).view(3, 1, 1))


@pytest.mark.parametrize("shape", [(300, 300), (64, 64), (224, 224), (224, 324), (120, 91), (500, 233), (768, 768)])
@pytest.mark.parametrize("kind", ["noise", "edges"])
def test_pictures_are_prepared_as_the_published_code_prepares_them_to_the_bit(shape, kind):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    if kind == "edges":  # on which a filter of floats is up to 22 steps off
        pixels = np.kron(random.integers(0, 2, (12, 12, 3)), np.ones((64, 64, 1)))[: shape[0], : shape[1]]
        pixels = (255 * pixels).astype(np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    assert torch.equal(normalised_images(image)[0], published_pixels(pixels))


@pytest.mark.parametrize(("frames", "clips"), [(1, 1), (2, 1), (5, 3), (8, 4)])
def test_videos_are_clips_of_two_frames(frames, clips):
    video = bytes_of(2, 3, frames, 16, 16)
    result = video_clips(video, OPTIONS.vision)
    assert result.shape == (2, clips, 3, 2, 224, 224)
    torch.testing.assert_close(result[1, -1, :, 1], normalised_images(video[1:, :, -1])[0])
    torch.testing.assert_close(result[0, 0, :, 0], normalised_images(video[:1, :, 0])[0])
