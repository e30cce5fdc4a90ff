"""CLAP (Wu et al. 2023): features of audio, with the published front end on the model's device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ClapAudioModelWithProjection, ClapConfig
from transformers.audio_utils import mel_filter_bank

from codi2_model.encoders.imagebind.inputs import SAMPLE_RATE
from codi2_model.encoders.transformers_family import TransformersFamily


@lru_cache(maxsize=8)
def _resampling_kernel(old: int, new: int, width: int = 64) -> Tensor:
    """Low-pass filters (new, 1, old + 2 * reach), one per phase of the output: a sinc under a Kaiser window, float64.

    Smith, "Digital Audio Resampling", ccrma.stanford.edu/~jos/resample; `width` zero crossings on either side.
    """
    with torch.device("cpu"):
        cutoff = 0.97 * min(old, new)  # transition band below the lower Nyquist frequency
        reach = math.ceil(width * old / cutoff)
        taps = torch.arange(-reach, old + reach, dtype=torch.float64) / old
        times = (taps[None] - torch.arange(new, dtype=torch.float64)[:, None] / new) * cutoff  # in zero crossings
        inside = (1 - (times / width) ** 2).clamp_min(0)
        window = torch.special.i0(10.0 * inside.sqrt()) / torch.special.i0(torch.tensor(10.0, dtype=torch.float64))
        kernel = torch.sinc(times) * torch.where(inside > 0, window, 0.0) * cutoff / old
        return kernel[:, None]


def resample(waves: Tensor, old: int, new: int) -> Tensor:
    """(N, samples) at `old` Hz -> (N, ceil(samples * new / old)) at `new` Hz, band-limited, by one strided convolution."""
    if old == new:
        return waves
    common = math.gcd(old, new)
    old, new = old // common, new // common
    kernel = _resampling_kernel(old, new).to(waves.device)
    reach = (kernel.shape[-1] - old) // 2
    # Float64: GPUs convolve float32 with a mantissa of ten bits, whose noise would dominate the quiet mel bins.
    resampled = F.conv1d(F.pad(waves[:, None].double(), (reach, reach + old)), kernel, stride=old)  # (N, new, steps)
    return resampled.transpose(1, 2).flatten(1)[:, : math.ceil(waves.shape[1] * new / old)].to(waves.dtype)


@lru_cache(maxsize=4)
def _clap_filters(bins: int, mels: int, low: float, high: float, rate: int, slaney: bool) -> Tensor:
    norm, scale = ("slaney", "slaney") if slaney else (None, "htk")
    return torch.from_numpy(mel_filter_bank(bins, mels, low, high, rate, norm=norm, mel_scale=scale)).float()


class ClapFamily(TransformersFamily):
    """CLAP's audio tower with its projection, and its front end for audio up to the maximum length of the model."""

    model_class = ClapAudioModelWithProjection
    whole_config = ClapConfig
    tower = "audio_config"
    modalities = ("audio",)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        defaults = {
            "feature_size": self.config.num_mel_bins,
            "sampling_rate": 48000,
            "hop_length": 480,
            "max_length_s": 10,
        }
        defaults |= {"fft_window_size": 1024, "frequency_min": 0, "frequency_max": 14000, "padding": "repeatpad"}
        defaults["truncation"] = "fusion" if self.config.enable_fusion else "rand_trunc"
        self.front: dict[str, Any] = defaults | self.preprocessor

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        with torch.autocast(media.device.type, enabled=False):  # half precision would lose the quiet bins
            mels = self.mels(resample(media[:, 0].float(), SAMPLE_RATE, self.front["sampling_rate"])).to(self._dtype())
        longer = None
        if self.config.enable_fusion:
            mels = mels.expand(-1, 4, -1, -1)
            longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=mels.device)
        return self.model(input_features=mels, is_longer=longer).audio_embeds[:, None]

    def mels(self, waves: Tensor) -> Tensor:
        """(N, samples) at the sampling rate of the front end -> log-mels in dB (N, 1, frames, mels), as ClapFeatureExtractor.

        Raises ValueError for audio above the maximum length, which the published front end crops at random.
        """
        front = self.front
        rate, size = front["sampling_rate"], front["fft_window_size"]
        waves = self._fill(waves, int(front["max_length_s"] * rate))
        window = torch.hann_window(size, device=waves.device)
        spectrum = torch.stft(waves, size, front["hop_length"], window=window, pad_mode="reflect", return_complex=True)
        limits = (float(front["frequency_min"]), float(front["frequency_max"]))
        filters = _clap_filters(size // 2 + 1, front["feature_size"], *limits, rate, front["truncation"] != "fusion")
        power = spectrum.abs().square().transpose(1, 2) @ filters.to(waves.device)
        return 10.0 * torch.log10(power.clamp_min(1e-10))[:, None]

    def _fill(self, waves: Tensor, length: int) -> Tensor:
        """Repeat and pad audio to the length that the model was trained with."""
        samples = waves.shape[1]
        if samples > length:
            seconds = self.front["max_length_s"]
            raise ValueError(
                f"audio of {samples} samples at {self.front['sampling_rate']} Hz exceeds the maximum of {seconds} s"
            )
        times = {"repeatpad": length // samples, "repeat": length // samples + 1, "pad": 1}[self.front["padding"]]
        waves = waves.repeat(1, times)[:, :length]
        return F.pad(waves, (0, length - waves.shape[1]))


FAMILY = ClapFamily
