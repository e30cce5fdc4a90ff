from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from codi2_model.encoders.imagebind import ImageBindOptions
from codi2_model.encoders.imagebind.inputs import (
    PICTURE_MEAN,
    PICTURE_STD,
    clip_starts,
    fbank,
    pictures,
    sounds,
    videos,
)

OPTIONS = ImageBindOptions()


def kaldi_fbank(wave: np.ndarray, mels: int) -> np.ndarray:
    """Kaldi's compute-fbank-feats in plain loops, from its documentation: hanning, no dither, 16 kHz, 25 ms / 10 ms."""
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
    found = fbank(torch.from_numpy(wave)[None], 128)[0].numpy()
    assert found.shape == (23, 128)
    np.testing.assert_allclose(found, kaldi_fbank(wave, 128), atol=2e-3)


def test_silence_is_kaldis_floor_and_batches_are_independent():
    waves = torch.stack([torch.zeros(1600), torch.rand(1600) - 0.5])
    found = fbank(waves, 128)
    assert bool((found[0] == float(np.log(np.float32(1.1920929e-07)))).all())
    torch.testing.assert_close(fbank(waves[1:], 128)[0], found[1])


def test_fbank_keeps_its_precision_under_autocast():
    waves = torch.rand(1, 3200) - 0.5
    expected = fbank(waves, 128)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fbank(waves, 128), expected)


def test_sounds_are_three_clips_from_start_to_end():
    assert clip_starts(80000) == [0, 24000, 48000]
    assert clip_starts(32001) == [0, 0, 1]
    assert clip_starts(9000) == [0, 0, 0]
    waves = torch.rand(2, 80000) - 0.5
    found = sounds(waves, OPTIONS.audio)
    assert found.shape == (2, 3, 1, 128, 204)
    expected = (fbank(waves[:, 24000:56000], 128).transpose(1, 2) + 4.268) / 9.138
    torch.testing.assert_close(found[:, 1, 0, :, :198], expected)
    assert bool((found[..., 198:] == torch.tensor(4.268) / 9.138).all())  # 0 is padded before the normalisation


def test_short_sounds_are_padded_and_very_short_ones_refused():
    found = sounds(torch.rand(1, 8000) - 0.5, OPTIONS.audio)
    assert torch.equal(found[:, 0], found[:, 2])
    assert bool((found[..., 48:] == found[0, 0, 0, 0, 203]).all()) and found[..., :48].std() > 0.01
    with pytest.raises(ValueError, match="at least 400 samples"):
        sounds(torch.zeros(1, 399), OPTIONS.audio)


def test_pictures_are_resized_as_pil_does():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(pixels).resize((150, 150)).resize((300, 300), Image.Resampling.BILINEAR))
    image = torch.from_numpy(pixels).permute(2, 0, 1).float()[None] / 127.5 - 1
    small = np.array(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    expected = (small - np.array(PICTURE_MEAN)) / np.array(PICTURE_STD)
    found = pictures(image)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)  # PIL rounds to bytes: 1 / 255 / 0.26


def test_pictures_do_not_overshoot_and_those_of_the_right_size_stay():
    edge = torch.ones(1, 3, 64, 64)
    edge[..., 32:] = -1
    low, high = [(torch.tensor(v) - torch.tensor(PICTURE_MEAN)) / torch.tensor(PICTURE_STD) for v in (0.0, 1.0)]
    found = pictures(edge)
    assert bool((found.amin(dim=(0, 2, 3)) >= low - 1e-6).all() and (found.amax(dim=(0, 2, 3)) <= high + 1e-6).all())
    same = torch.rand(1, 3, 224, 224) * 2 - 1
    back = pictures(same) * torch.tensor(PICTURE_STD)[:, None, None] + torch.tensor(PICTURE_MEAN)[:, None, None]
    torch.testing.assert_close(back * 2 - 1, same, atol=1e-5, rtol=0)


def test_oblong_pictures_are_cut_at_the_centre():
    wide = torch.rand(1, 3, 224, 324) * 2 - 1
    torch.testing.assert_close(pictures(wide), pictures(wide[..., 50:274]))
    assert pictures(torch.zeros(1, 3, 120, 90)).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(("frames", "clips"), [(1, 1), (2, 1), (5, 3), (8, 4)])
def test_videos_are_clips_of_two_frames(frames, clips):
    video = torch.rand(2, 3, frames, 16, 16) * 2 - 1
    found = videos(video, OPTIONS.vision)
    assert found.shape == (2, clips, 3, 2, 224, 224)
    torch.testing.assert_close(found[1, -1, :, 1], pictures(video[1:, :, -1])[0])
    torch.testing.assert_close(found[0, 0, :, 0], pictures(video[:1, :, 0])[0])
