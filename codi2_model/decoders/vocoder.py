"""Vocoder: log-mel spectrogram -> waveform by mel pseudo-inverse and fast Griffin-Lim (Perraudin et al. 2013), in torch.

No weights and no randomness: phases start at zero, so equal spectrograms give equal samples.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from codi2_model.encoders.mel import mel_filters, mel_power
from codi2_model.options import AudioOptions


@lru_cache(maxsize=8)
def _inverse_filters(options: AudioOptions) -> torch.Tensor:
    return torch.linalg.pinv(mel_filters(options).double()).float()


def linear_power(mel: torch.Tensor, options: AudioOptions, iterations: int = 60) -> torch.Tensor:
    """Power per mel bin (N, mels, frames) -> power spectrum (N, n_fft // 2 + 1, frames), non-negative.

    Starts with the pseudo-inverse. Multiplicative updates (Lee and Seung 2001) then fit a non-negative spectrum to the mel
    bins.
    """
    filters = mel_filters(options).to(mel.device)
    start = torch.einsum("fm,nmt->nft", _inverse_filters(options).to(mel.device), mel)
    power = start.clamp_min(0) + 1e-3 * start.abs().amax(dim=1, keepdim=True) + 1e-12
    target = torch.einsum("mf,nmt->nft", filters, mel)
    gram = filters.T @ filters
    for _ in range(iterations):
        power = power * target / torch.einsum("fg,ngt->nft", gram, power).clamp_min(1e-12)
    return power


@torch.no_grad()
def to_waveform(
    mels: torch.Tensor, options: AudioOptions, iterations: int = 32, momentum: float = 0.99
) -> torch.Tensor:
    """Log-mel spectrograms (N, 1, mels, frames) in [0, 1], as decoders output -> waveforms (N, samples) in [-1, 1].

    Raises ValueError for another shape or range.
    """
    shape = (1, options.mels, options.frames)
    if mels.ndim != 4 or tuple(mels.shape[1:]) != shape:
        raise ValueError(
            f"vocoder: spectrograms have shape {tuple(mels.shape)}, expected (N, {', '.join(map(str, shape))})"
        )
    if len(mels) and (float(mels.min()) < -1e-3 or float(mels.max()) > 1 + 1e-3):
        raise ValueError(f"vocoder: values from {float(mels.min()):.3f} to {float(mels.max()):.3f}, expected [0, 1]")
    power = linear_power(mel_power(mels.float() * 2 - 1, options), options)
    magnitude = torch.cat([power, power[..., -1:]], dim=-1).sqrt()  # the last frame, which `log_mel` omits
    window = torch.hann_window(options.n_fft, device=mels.device)

    def analyse(waves: torch.Tensor) -> torch.Tensor:
        return torch.stft(waves, options.n_fft, options.hop, window=window, center=True, return_complex=True)

    def synthesise(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.istft(spectrum, options.n_fft, options.hop, window=window, center=True, length=options.samples)

    phase = torch.ones_like(magnitude, dtype=torch.complex64)
    last = torch.zeros_like(phase)
    for _ in range(iterations):
        rebuilt = analyse(synthesise(magnitude * phase))
        ahead = rebuilt + momentum * (rebuilt - last)
        phase = ahead / ahead.abs().clamp_min(1e-8)
        last = rebuilt
    return synthesise(magnitude * phase).clamp(-1.0, 1.0)
