"""Band-limited resampling of audio."""

from __future__ import annotations

import pytest
import torch

from codi2_model.encoders.families.clap import resample


@pytest.mark.parametrize("rates", [(16000, 48000), (48000, 16000), (44100, 16000), (16000, 22050)])
def test_resampled_tones_stay_tones(rates):
    old, new = rates

    def tone(rate: int) -> torch.Tensor:
        seconds = torch.arange(rate // 4, dtype=torch.float64) / rate
        return sum(torch.sin(2 * torch.pi * f * seconds + f) for f in (110.0, 3000.0, 6900.0))[None] / 3

    result = resample(tone(old).float(), old, new)
    expected = tone(new).float()
    assert result.shape[1] == -(-(old // 4) * new // old)
    inner = slice(new // 40, new // 5)  # the ends hear the silence around the clip
    torch.testing.assert_close(result[:, inner], expected[:, inner], atol=2e-4, rtol=0)


def test_resampling_down_removes_what_would_fold():
    seconds = torch.arange(24000, dtype=torch.float64) / 48000
    result = resample(torch.sin(2 * torch.pi * 11000 * seconds)[None], 48000, 16000)
    assert result[:, 1000:-1000].abs().max() < 1e-4
    same = torch.rand(1, 100)
    assert resample(same, 16000, 16000) is same
