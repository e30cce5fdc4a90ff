"""Log-mel spectrograms: waveform -> log-mel in [-1, 1], deterministic, in plain torch and float32.

Mel scale: HTK, 2595 log10(1 + f / 700). Filters: triangles of unit height.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from codi2_model.options import AudioOptions


def _hz_to_mel(hz: torch.Tensor) -> torch.Tensor:
    return 2595.0 * torch.log10(1.0 + hz / 700.0)


def _mel_to_hz(mel: torch.Tensor) -> torch.Tensor:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@lru_cache(maxsize=8)
def mel_filters(options: AudioOptions) -> torch.Tensor:
    """Triangular filters, (mels, n_fft // 2 + 1), float32. Filters narrower than a bin are widened to one bin."""
    with torch.device("cpu"):
        bins = torch.linspace(0, options.sample_rate / 2, options.n_fft // 2 + 1, dtype=torch.float64)
        ends = _hz_to_mel(torch.tensor([options.f_min, options.f_max], dtype=torch.float64))
        corners = _mel_to_hz(torch.linspace(float(ends[0]), float(ends[1]), options.mels + 2, dtype=torch.float64))
        step = options.sample_rate / options.n_fft
        low = torch.minimum(corners[:-2], corners[1:-1] - step)[:, None]
        high = torch.maximum(corners[2:], corners[1:-1] + step)[:, None]
        middle = corners[1:-1, None]
        return torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp_min(0).float()


def power_spectrum(waves: torch.Tensor, options: AudioOptions) -> torch.Tensor:
    """(N, samples) -> power spectrum (N, n_fft // 2 + 1, frames + 1), Hann window, centred frames."""
    window = torch.hann_window(options.n_fft, device=waves.device)
    spectrum = torch.stft(waves, options.n_fft, options.hop, window=window, center=True, return_complex=True)
    return spectrum.abs().square()


def log_mel(waves: torch.Tensor, options: AudioOptions) -> torch.Tensor:
    """Waveforms (N, samples) in [-1, 1] -> (N, 1, mels, frames) in [-1, 1], linear in dB from floor_db to ceiling_db.

    Raises ValueError for waveforms of another length than `options.samples`.
    """
    if waves.ndim != 2 or waves.shape[1] != options.samples:
        raise ValueError(f"waveforms have shape {tuple(waves.shape)}, expected (N, {options.samples})")
    # without the last frame, which is centred on the end of the waveform
    power = power_spectrum(waves, options)[..., : options.frames]
    mel = torch.einsum("mf,nft->nmt", mel_filters(options).to(waves.device), power)
    decibels = 10.0 * torch.log10(mel.clamp_min(1e-12))
    span = options.ceiling_db - options.floor_db
    return ((decibels - options.floor_db) / span * 2.0 - 1.0).clamp(-1.0, 1.0)[:, None]


def mel_power(log_mels: torch.Tensor, options: AudioOptions) -> torch.Tensor:
    """The inverse of `log_mel`'s scaling: (N, 1, mels, frames) in [-1, 1] -> power per mel bin (N, mels, frames)."""
    span = options.ceiling_db - options.floor_db
    decibels = (log_mels[:, 0] + 1.0) / 2.0 * span + options.floor_db
    # The floor is silence: otherwise quiet passages would be reconstructed as a hiss.
    return torch.where(
        decibels <= options.floor_db + 0.01 * span, torch.zeros_like(decibels), 10.0 ** (decibels / 10.0)
    )
