"""Preparation of ImageBind inputs from canonical media, in plain torch and float32 on the device of the media."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from codi2_model.encoders.imagebind.options import TrunkOptions
from codi2_model.encoders.resize import byte_values, resize

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
SAMPLE_RATE = 16000
AUDIO_CLIPS = 3
AUDIO_CLIP_SECONDS = 2
AUDIO_MEAN, AUDIO_STD = -4.268, 9.138  # of the log-mels of AudioSet, as published
FRAME, HOP, FFT = 400, 160, 512  # 25 ms, 10 ms, the next power of two
PREEMPHASIS = 0.97
LOW_HZ = 20.0
EPSILON = 1.1920928955078125e-07  # of float32; Kaldi's lower limit of the logarithm


def normalised_images(images: Tensor, size: int = 224) -> Tensor:
    """(N, 3, height, width) in [-1, 1] -> (N, 3, size, size), normalised with the mean and deviation of CLIP.

    Bit-exact with torchvision on PIL images: Resize(size, bicubic), CenterCrop(size), ToTensor, Normalize.
    """
    pixels = byte_values(images)
    height, width = pixels.shape[-2:]
    short = min(height, width)
    target = (size * height // short, size * width // short)
    pixels = resize(pixels, target, "bicubic")
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    pixels = pixels[..., top : top + size, left : left + size].float() / 255.0
    mean = torch.tensor(IMAGE_MEAN, device=pixels.device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=pixels.device)[:, None, None]
    return (pixels - mean) / std


def video_clips(videos: Tensor, options: TrunkOptions) -> Tensor:
    """(N, 3, T, height, width) in [-1, 1] -> (N, clips, 3, frames, size, size).

    Every frame is used once; the last clip is filled with its last frame.
    """
    frames, size = options.shape[0], options.shape[-1]
    count, missing = videos.shape[0], -videos.shape[2] % frames
    videos = torch.cat([videos, videos[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2)
    prepared = normalised_images(videos.transpose(1, 2).flatten(0, 1), size)  # (N * T, 3, size, size)
    return prepared.unflatten(0, (count, -1, frames)).transpose(2, 3)


def clip_starts(samples: int) -> list[int]:
    """Start samples of the clips of an audio, evenly from its start to its last whole clip.

    Computed in seconds as in the published sampler, whose rounding can move a start one sample earlier.
    """
    last = Fraction(max(samples / SAMPLE_RATE - AUDIO_CLIP_SECONDS, 0))
    return [int(last / (AUDIO_CLIPS - 1) * index * SAMPLE_RATE) for index in range(AUDIO_CLIPS)]


def audio_clips(waves: Tensor, options: TrunkOptions) -> Tensor:
    """(N, samples) at 16 kHz in [-1, 1] -> normalised log-mels (N, 3, 1, mels, frames).

    Three clips of 2 s; audio shorter than that is repeated in all three. Padding is 0 *before* normalisation, as published.
    Raises ValueError for audio shorter than one frame.
    """
    if waves.ndim != 2 or waves.shape[1] < FRAME:
        raise ValueError(f"audio has shape {tuple(waves.shape)}, expected (N, at least {FRAME} samples at 16 kHz)")
    mels, frames = options.shape
    spectra = fbank(torch.stack(centred_clips(waves), dim=1).flatten(0, 1), mels).transpose(1, 2)[..., :frames]
    padded = F.pad(spectra, (0, frames - spectra.shape[-1]))
    return ((padded - AUDIO_MEAN) / AUDIO_STD).unflatten(0, (-1, AUDIO_CLIPS))[:, :, None]


def centred_clips(waves: Tensor) -> list[Tensor]:
    """The clips, each with mean 0.

    As in the published code, the mean is subtracted in place, so it also changes the overlap with the next clip.
    """
    waves = waves.float().clone()
    clips = []
    for start in clip_starts(waves.shape[1]):
        clip = waves[:, start : start + AUDIO_CLIP_SECONDS * SAMPLE_RATE]
        clip -= clip.mean(dim=1, keepdim=True)
        clips.append(clip.clone())
    return clips


def fbank(waves: Tensor, mels: int) -> Tensor:
    """(N, samples) at 16 kHz -> log-mel energies (N, frames, mels), as Kaldi's compute-fbank-feats without dither.

    Options: Hanning window, no energy, snip-edges; others are Kaldi's defaults (low-freq 20, high-freq 8000).
    """
    with torch.autocast(waves.device.type, enabled=False):  # half precision would lose the quiet bins
        waves = waves.float()
        frames = waves.unfold(1, FRAME, HOP)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        window = torch.hann_window(FRAME, periodic=False, device=waves.device)
        power = torch.fft.rfft((frames - PREEMPHASIS * before) * window, n=FFT).abs().square()
        return (power @ mel_banks(mels).to(waves.device).T).clamp_min(EPSILON).log()


def _mel(hz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hz / 700.0)


@lru_cache(maxsize=4)
def mel_banks(mels: int) -> Tensor:
    """Kaldi's filters (mels, FFT / 2 + 1): triangles on the mel scale from 20 Hz to Nyquist, without the Nyquist bin."""
    with torch.device("cpu"):
        bins = _mel(torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT)
        low, high = _mel(torch.tensor([LOW_HZ, SAMPLE_RATE / 2], dtype=torch.float64))
        corners = low + torch.arange(mels + 2, dtype=torch.float64) * (high - low) / (mels + 1)
        left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
        banks = torch.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)).clamp_min(0)
        banks[:, -1] = 0
        return banks.float()
